-- Notes where the sender's copy of a direct message lies, so that a reaction to the one reaches the other.
--
-- KEYS[1]  copies   hash of an inbox: offset -> offset in the sender's inbox
-- KEYS[2]  senders  stream of the inbox: its messages' offsets; see inbox.lua
-- ARGV[1]  offset in this inbox
-- ARGV[2]  offset in the sender's
-- ARGV[3]  how many are kept, about
-- ARGV[4]  ttl, seconds

redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
redis.call('EXPIRE', KEYS[1], ARGV[4])
local most, here = tonumber(ARGV[3]), tonumber(ARGV[1])
if redis.call('HLEN', KEYS[1]) > 2 * most then
  local there, gone = {}, {}
  for _, entry in ipairs(redis.call('XRANGE', KEYS[2], '-', '+')) do there[string.match(entry[1], '^%d+')] = true end
  local listed = next(there)
  for _, offset in ipairs(redis.call('HKEYS', KEYS[1])) do
    local old = tonumber(offset) <= here - most
    if (listed and not there[offset] and offset ~= ARGV[1]) or (old and not listed) then gone[#gone + 1] = offset end
  end
  for at = 1, #gone, 500 do redis.call('HDEL', KEYS[1], unpack(gone, at, math.min(at + 499, #gone))) end
end
return 1
