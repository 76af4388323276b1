-- Reads from the audit trail, newest first.
--
-- KEYS[1]  audit  stream
-- ARGV[1]  "+", or "(" and the id of the last entry that was read
-- ARGV[2]  entries at most
--
-- Returns {id, deed, id, deed, …}.

local answer = {}
for _, entry in ipairs(redis.call('XREVRANGE', KEYS[1], ARGV[1], '-', 'COUNT', ARGV[2])) do
  answer[#answer + 1] = entry[1]
  answer[#answer + 1] = entry[2][2]
end
return answer
