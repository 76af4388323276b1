-- Appends messages to a room's log and publishes them; the same key a second time gives the first answer again.
-- uses log.lua
-- uses append.lua
--
-- ARGV[6…]  the messages in order: an envelope each, followed, where there are KEYS[5] and KEYS[6], by its key (16
--           bytes) and the digest of what a retry must repeat (12 bytes)
--
-- Returns "<first offset> <time> <epoch>" where all of them were appended. Else for each message what it got:
-- "<offset> <time> <epoch>", followed by " d" for a duplicate, or an error: KEYCONFLICT, OFFSETS.

local log, answers = open_log(ARGV[2]), {}
prepare(log)

local function publish_keyed()
  local fields = {}
  for at = 7, #ARGV, 3 do fields[#fields + 1] = ARGV[at] end
  local keys = open_keys(fields)
  for at = 6, #ARGV, 3 do
    local field, digest = ARGV[at + 1], ARGV[at + 2]
    local answer = first_answer(log, keys, field, digest)
    if not answer then
      answer = append(log, ARGV[at], KEYS[2], ARGV[3])
      if not answer.err then remember(log, keys, field, digest, answer) end
    end
    answers[#answers + 1] = answer
  end
  keep_keys(log, keys)
end

if KEYS[5] then
  publish_keyed()
else
  for at = 6, #ARGV do answers[at - 5] = append(log, ARGV[at], KEYS[2], ARGV[3]) end
end
keep(log)
return #log.sizes == #answers and log.first or answers
