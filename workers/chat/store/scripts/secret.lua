-- Gives the secret that guests' identities are signed with; the first caller's proposal becomes it.
--
-- KEYS[1]  secret
-- ARGV[1]  a proposal

redis.call('SET', KEYS[1], ARGV[1], 'NX')
return redis.call('GET', KEYS[1])
