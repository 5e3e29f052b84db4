"""``python -m bench cameras``: what a camera costs and what it sees, beside peers, on the same clips.

Read film, players, ours, peer_motion, then contest.
"""
