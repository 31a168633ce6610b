"""WebRTC calls by aiortc in this process, over loopback, through an impairment: what passed, and what was shown.

What a peer sends is held back or lost as an impaired link would, and then is at the probe. The truth is the application's: frames that left the encoder.
"""
