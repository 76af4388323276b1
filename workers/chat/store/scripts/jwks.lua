-- Keeps the key set that verifies tokens, if one is given, and gives the kept one.
--
-- KEYS[1]  key set
-- ARGV[1]  the new key set, as JSON; empty: none
-- ARGV[2]  seconds that it is kept

if ARGV[1] ~= '' then
  redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[2])
end
return redis.call('GET', KEYS[1])
