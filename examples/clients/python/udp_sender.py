"""Sends a face as JSON datagrams, as senders of the older system do. Needs nothing."""
import json
import math
import socket
import sys
import time

address = (sys.argv[1] if len(sys.argv) > 1 else "127.0.0.1", int(sys.argv[2]) if len(sys.argv) > 2 else 5005)
udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
while True:
    jaw = 0.5 + 0.4 * math.sin(6 * time.time())
    udp.sendto(json.dumps({"subject": "Python", "blendshapes": {"jawOpen": jaw}}).encode(), address)
    time.sleep(1 / 60)
