"""Owns which commands a store must have, and the script that tries each of them, as the workers' own scripts do.

A managed service may have renamed one, and an ACL user may lack one; the server would run and refuse what clients ask.
"""

from __future__ import annotations

from typing import Final

# Each with what it is tried on: KEYS[1] a string, KEYS[2] a stream, KEYS[3] a hash, KEYS[4] a sorted set; they are
# removed in the end, but for the string, which ends by itself.
_TRIALS: Final = """
local string, stream, hash, set = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local trials = {
  { 'INFO', 'replication' }, { 'TIME' }, { 'PUBLISH', ARGV[1], '' },
  { 'SET', string, '', 'EX', 60 }, { 'GET', string }, { 'EXISTS', string }, { 'PERSIST', string },
  { 'PEXPIREAT', string, '99999999999999' }, { 'EXPIRE', string, 60 }, { 'TTL', string }, { 'PTTL', string },
  { 'XADD', stream, 'MAXLEN', '~', 1, '*', 'e', '' }, { 'XLEN', stream }, { 'XRANGE', stream, '-', '+' },
  { 'XREVRANGE', stream, '+', '-' }, { 'XDEL', stream, '0-1' },
  { 'HSET', hash, 'a', '1' }, { 'HINCRBY', hash, 'a', 1 }, { 'HGET', hash, 'a' }, { 'HMGET', hash, 'a' },
  { 'HEXISTS', hash, 'a' }, { 'HLEN', hash }, { 'HKEYS', hash }, { 'HVALS', hash }, { 'HGETALL', hash },
  { 'HSCAN', hash, '0' }, { 'HDEL', hash, 'b' },
  { 'ZADD', set, 1, 'a' }, { 'ZSCORE', set, 'a' }, { 'ZRANGE', set, 0, -1 }, { 'ZRANGEBYSCORE', set, 0, 1 },
  { 'ZREM', set, 'b' },
  { 'DEL', stream, hash, set },
}
for _, trial in ipairs(trials) do
  local answer = redis.pcall(unpack(trial))
  if type(answer) == 'table' and answer.err then
    return redis.error_reply(answer.err .. ' (asked for ' .. trial[1] .. ')')
  end
end
return 1
"""
TRIAL: Final = _TRIALS.strip()


def trial_keys(name: str) -> list[str]:
    """KEYS of `TRIAL`, in one slot, within what an instance of that name may touch."""
    return [f"{name}:{{!probe}}:{kind}" for kind in ("stamp", "stream", "hash", "set")]
