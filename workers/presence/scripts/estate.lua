-- Lists rooms in which a condemned incarnation may have left something; with the last one it is forgotten.
-- uses ../../cluster/scripts/incarnations.lua
--
-- ARGV[1]  incarnation
-- ARGV[2]  ms after which another worker may take the reaping over
-- ARGV[3]  rooms at most
-- ARGV[4…] rooms that are done
--
-- Returns rooms; none: it is over.

for at = 4, #ARGV do redis.call('HDEL', KEYS[3], ARGV[at]) end
local page = redis.call('HSCAN', KEYS[3], '0', 'COUNT', ARGV[3])
local cursor, rooms = page[1], {}
while #page[2] == 0 and cursor ~= '0' do
  page = redis.call('HSCAN', KEYS[3], cursor, 'COUNT', ARGV[3])
  cursor = page[1]
end
for at = 1, math.min(#page[2], 2 * ARGV[3]), 2 do rooms[#rooms + 1] = page[2][at] end
if #rooms == 0 then
  redis.call('ZREM', KEYS[2], ARGV[1])
else
  redis.call('ZADD', KEYS[2], 'XX', text(now_ms() + ARGV[2]), ARGV[1])
end
return rooms
