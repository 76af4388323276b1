-- Adds what a user, or the guests of an address, had kept to the count of the day.
--
-- KEYS[1]  today   hash: b bytes, r rooms; it is over a day after its beginning
-- ARGV[1]  bytes to add
-- ARGV[2]  rooms to add
-- ARGV[3]  bytes that a day may have; 0: any
-- ARGV[4]  rooms that a day may have; 0: any
-- ARGV[5]  a day, seconds
--
-- Returns 0, or for how many ms no more is taken.

local bytes = redis.call('HINCRBY', KEYS[1], 'b', ARGV[1])
local rooms = redis.call('HINCRBY', KEYS[1], 'r', ARGV[2])
local left = redis.call('PTTL', KEYS[1])
if left < 0 then
  left = ARGV[5] * 1000
  redis.call('PEXPIRE', KEYS[1], left)
end
local most, most_rooms = tonumber(ARGV[3]), tonumber(ARGV[4])
if (most > 0 and bytes >= most) or (most_rooms > 0 and rooms >= most_rooms) then return left end
return 0
