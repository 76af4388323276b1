-- Takes a call away from all others.
--
-- KEYS[1]  call  the request
--
-- Returns the request, or nothing where another worker has taken it, or nobody waits any more.

local request = redis.call('GET', KEYS[1])
if request then redis.call('DEL', KEYS[1]) end
return request
