"""Handing live connections from one worker to another, so that a reload drops no one.

Theory of operation. O is the old worker, N the new one. Between them is a SOCK_SEQPACKET pair that the master made;
the master is also the only one who knows for certain that a process is gone (waitpid).

    O: quiesce, freeze  ── Offer(batch, parcels) + descriptors ──►  N: keeps them, neither reads nor writes
    O: waits            ◄── Held(batch, ids) ─────────────────────  N
    O: cannot take back ── Go(batch, ids) ────────────────────────►  N: active
    O: out of time      ── Abort(batch) ──────────────────────────►  N: closes its copies
    O: goes on with it  ◄── Released(batch) ──────────────────────  N

At every moment at most one of the two may write to a connection: O until it says Go, N after it has read Go. If one
of them dies, the other waits for the master's word that it was reaped: O then goes on with what was never given
away, N first reads what the pair still holds and then takes what it held.

`sender_state.py` and `receiver_state.py` decide, purely; `shell.py` carries out.
"""
