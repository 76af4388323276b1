-- Reads which incarnations count as alive by the store's clock.
-- uses ../../cluster/scripts/incarnations.lua
--
-- Returns the incarnations.

return redis.call('ZRANGEBYSCORE', KEYS[1], text(now_ms()), '+inf')
