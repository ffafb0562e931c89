"""A face by UDP: one JSON object in a datagram, and nothing else to do.

python udp_sender.py [HOST [PORT [SUBJECT]]]
"""
import json
import math
import socket
import sys
import time

host = sys.argv[1] if len(sys.argv) > 1 else "127.0.0.1"
port = int(sys.argv[2]) if len(sys.argv) > 2 else 5005
subject = sys.argv[3] if len(sys.argv) > 3 else "Python"

out = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
while True:
    jaw = 0.5 + 0.5 * math.sin(4 * time.time())
    frame = {
        "type": "arkit_data",
        "subject": subject,
        "timestamp": time.time() * 1000,
        "blendshapes": {"jawOpen": jaw, "mouthClose": 1 - jaw},
    }
    out.sendto(json.dumps(frame).encode(), (host, port))
    time.sleep(1 / 60)
