-- Ends the life of incarnations; the caller is the one to reap them.
-- uses ../../cluster/scripts/incarnations.lua
--
-- ARGV[1]  incarnation, or a process: all of its incarnations are named "<process>.<number>"
-- ARGV[2]  "sure": it is known to be dead; "": only if its lease is over
-- ARGV[3]  ms after which another worker may take the reaping over
--
-- Returns the incarnations that the caller has to reap.

local now = now_ms()
local condemned = {}
local process = ARGV[1] .. '.'

local function sift(key, sure)
  local all = redis.call('ZRANGE', key, 0, -1, 'WITHSCORES')
  for at = 1, #all, 2 do
    local one, due = all[at], tonumber(all[at + 1])
    if (one == ARGV[1] or string.sub(one, 1, #process) == process) and (sure or due < now) then
      condemned[#condemned + 1] = one
    end
  end
end

sift(KEYS[1], ARGV[2] == 'sure')
sift(KEYS[2], false)
for _, one in ipairs(condemned) do
  redis.call('ZREM', KEYS[1], one)
  redis.call('ZADD', KEYS[2], text(now + ARGV[3]), one)
end
return condemned
