"""What stores say when they refuse, as they say it, and what one is told to do about it."""

from __future__ import annotations

import pytest

from chatmaster.store.refusals import MOST, code_of, explained, is_transient

# As Redis 6.2 to 7.2 and Valkey 8 and 9 said them.
SAID = [
    ("OOM command not allowed when used memory > 'maxmemory'.", "OOM", "maxmemory"),
    ("ERR Error running script (call to f_ab): @user_script:9: OOM command not allowed", "OOM", "maxmemory"),
    ("MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist", "MISCONF", "disk"),
    ("READONLY You can't write against a read only replica.", "READONLY", "redis+sentinel://"),
    ("MOVED 4120 127.0.0.1:7001", "MOVED", "Cluster"),
    ("CLUSTERDOWN Hash slot not served", "CLUSTERDOWN", "Cluster"),
    ("MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.", "MASTERDOWN", "master"),
    ("NOAUTH Authentication required.", "NOAUTH", "USER:PASSWORD"),
    ("WRONGPASS invalid username-password pair or user is disabled.", "WRONGPASS", "USER:PASSWORD"),
    ("NOPERM No permissions to access a channel", "NOPERM", "~chat:* &chat@* +@all"),
    ("NOPERM this user has no permissions to run the 'script|load' command", "NOPERM", "&chat@*"),
    (
        "ERR ACL failure in script: User u has no permissions to run the 'set' command script",
        "NOPERM",
        "~chat",
    ),
    ("ERR The user executing the script can't run this command or subcommand script: ab, on @u:1", "NOPERM", "~chat:*"),
    ("LOADING Redis is loading the dataset in memory", "LOADING", "is loading its data"),
    ("BUSY Redis is busy running a script. You can only call SCRIPT KILL.", "BUSY", "SCRIPT KILL"),
    ("NOREPLICAS Not enough good replicas to write.", "NOREPLICAS", "min-replicas"),
    ("ERR max number of clients reached", "", "maxclients"),
    ("ERR unknown command 'EVALSHA'", "", "Redis 6.2"),
    ("ERR DB index is out of range", "", "databases"),
]


@pytest.mark.parametrize(("words", "code", "advice"), SAID)
def test_the_stores_own_words_stay_and_what_to_do_is_said_behind_them(words, code, advice):
    told = explained(words, "chat")
    assert code_of(words) == code
    assert told.startswith(code) and words.rstrip(".") in told and told.endswith(")")
    assert advice in told.partition(words.rstrip("."))[2]
    assert is_transient(words) == (code in ("LOADING", "BUSY", "MASTERDOWN"))


def test_what_a_protected_store_says_is_cut_and_nothing_is_made_up_for_what_is_not_known():
    long = "DENIED Redis is running in protected mode because " + "x" * 1000
    assert explained(long, "chat").startswith(long[:MOST]) and len(explained(long, "chat")) < MOST + 150
    assert explained("ERR something\nelse", "chat") == "ERR something else"
