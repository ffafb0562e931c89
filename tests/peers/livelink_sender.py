"""Live Link Face packets by PyLiveLinkFace, as programs that are built on it send them: a jaw that opens within two seconds.

The package counts frames by the milliseconds of the second, so that its frame numbers wander.
"""
import socket
import sys
import time

from pylivelinkface import FaceBlendShape, PyLiveLinkFace

port, frames = int(sys.argv[1]), int(sys.argv[2])
face = PyLiveLinkFace(name="Ann")
face.set_blendshape(FaceBlendShape.MouthLeft, 0.75, True)
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
    out.connect(("127.0.0.1", port))
    begun = time.monotonic()
    for frame in range(frames):
        face.set_blendshape(FaceBlendShape.JawOpen, frame / (frames - 1), True)
        out.sendall(face.encode())
        time.sleep(max(0, begun + (frame + 1) / 60 - time.monotonic()))
