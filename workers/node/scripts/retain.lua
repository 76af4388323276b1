-- Writes down how long rooms are kept; see retention.py.
--
-- KEYS[1]  retention
-- ARGV[1]  JSON

redis.call('SET', KEYS[1], ARGV[1])
return 1
