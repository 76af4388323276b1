"""Handover: live connections move from one worker to another, so that a reload drops no client.

Theory of operation. O is the old worker, the sender; N is the new worker, the receiver. Between them is a
SOCK_SEQPACKET pair that the master made. Only the master knows for certain that a process is gone (waitpid).

    O: quiesce, freeze  ── Offer(batch, snapshots) + descriptors ─►  N: holds them, neither reads nor writes
    O: waits            ◄── Held(batch, ids) ─────────────────────  N
    O: cannot take back ── Go(batch, ids) ────────────────────────►  N: serves the connections
    O: timed out        ── Abort(batch) ──────────────────────────►  N: closes its copies
    O: serves them      ◄── Released(batch) ──────────────────────  N

At every moment at most one of the two may write to a connection: O until it sends Go, N after it has read Go. If one of
them dies, the other waits until the master reports that it was reaped. Then O continues what was never given away; N
first reads what the pair still holds, and then serves what it holds.

`sender_state.py` and `receiver_state.py` decide, purely; `sender.py` and `receiver.py` carry out their actions.
"""
