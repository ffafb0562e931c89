"""OSC by PyPI's python-osc, for the tests: a VMC or Face Cap sender, or a receiver.

    python_osc.py PACKAGES send HOST:PORT WAY
    python_osc.py PACKAGES receive

PACKAGES is the folder that holds python-osc. WAY is what is sent, at 60 frames a second until it is killed:
    bundle    VMC: OK, T, the head's bone, values and Apply in one bundle
    single    VMC: the same values and the bone, each in a datagram, without OK, T and Apply
    bones     VMC: T, OK and the head's bone
    change    VMC: a smile once, then its jaw and Apply
    face-cap  Face Cap, with the number of a shape as a float
    trackers  a mouth as Project Babble sends it, and from a socket of their own eyes as EyeTrackVR does, a value a datagram
    vrcft     the same face as VRCFaceTracking sends it: parameters in a bundle, a binary one among them
    unknown   what is no face
A controller says ADDRESS and what follows once, and prints the answer as a receiver does:
    python_osc.py PACKAGES ask HOST:PORT ADDRESS [WORD|NUMBER ...]
A receiver prints `{"port": ...}` and then a line for each message.
"""

import json
import math
import sys
import time

sys.path.insert(0, sys.argv[1])

from pythonosc import dispatcher, osc_bundle_builder, osc_message_builder, osc_server, udp_client  # noqa: E402


def message(address, *values):
    builder = osc_message_builder.OscMessageBuilder(address=address)
    for value in values:
        builder.add_arg(value)
    return builder.build()


def bundle(messages):
    builder = osc_bundle_builder.OscBundleBuilder(osc_bundle_builder.IMMEDIATELY)
    for part in messages:
        builder.add_content(part)
    return builder.build()


def frame(way, index):
    """The datagrams of a frame: a jaw between 0 and 1, and a head that turns by up to 0.5 to the left."""
    now = index / 60
    jaw = 0.5 - 0.5 * math.cos(3 * now)
    yaw = 0.5 * jaw
    # Unity's axes: positive y turns to the right.
    head = message("/VMC/Ext/Bone/Pos", "Head", 0.0, 0.0, 0.0, 0.0, -math.sin(yaw / 2), 0.0, math.cos(yaw / 2))
    value = message("/VMC/Ext/Blend/Val", "JawOpen", jaw)
    other = message("/VMC/Ext/Blend/Val", "MouthClose", 1 - jaw)
    ok, began, apply = message("/VMC/Ext/OK", 1), message("/VMC/Ext/T", now), message("/VMC/Ext/Blend/Apply")
    if way == "bundle":
        return [bundle([ok, began, head, value, other, apply])]
    if way == "single":
        return [value, other, head]
    if way == "bones":
        return [bundle([began, ok, head])]
    if way == "change":
        smile = [message("/VMC/Ext/Blend/Val", "Joy", 1.0)] if index == 0 else []
        return [bundle([*smile, value, other, apply])]
    if way == "face-cap":
        degrees = math.degrees(yaw)
        return [bundle([message("/HR", 0.0, degrees, 0.0), message("/W", 24.0, jaw), message("/W", 36.0, 1 - jaw)])]
    if way == "trackers":
        return [message("/jawOpen", jaw), message("/mouthClose", 1 - jaw)]
    if way == "vrcft":
        # The lid is closed as far as the jaw is open; the jaw goes left by 5 of 7.
        bits = [("1", True), ("2", False), ("4", True), ("Negative", True)]
        return [
            bundle(
                [
                    message("/avatar/parameters/v2/JawOpen", jaw),
                    message("/avatar/parameters/v2/MouthClosed", 1 - jaw),
                    message("/avatar/parameters/v2/EyeLidLeft", 0.75 * (1 - jaw)),
                    *[message("/avatar/parameters/v2/JawX" + bit, on) for bit, on in bits],
                ]
            )
        ]
    return [message("/hat/brim", jaw)]


def eyes(index):
    """EyeTrackVR's datagrams: a lid that closes, and eyes that look to the right."""
    jaw = 0.5 - 0.5 * math.cos(3 * index / 60)
    return [
        message("/avatar/parameters/LeftEyeLidExpandedSqueeze", 0.8 * (1 - jaw)),
        message("/avatar/parameters/LeftEyeX", 0.5),
        message("/avatar/parameters/RightEyeX", 0.5),
        message("/avatar/parameters/EyesY", 0.25),
    ]


def ask(host, address, *words):
    port = host.rsplit(":", 1)
    client = udp_client.SimpleUDPClient(port[0], int(port[1]))
    values = [float(word) if word.replace(".", "", 1).isdigit() else word for word in words]
    client.send(message(address, *values))
    answer = next(iter(client.get_messages(20)))
    print(json.dumps({"address": answer.address, "values": list(answer)}), flush=True)


def send(host, way):
    address, port = host.rsplit(":", 1)
    client = udp_client.UDPClient(address, int(port))
    second = udp_client.UDPClient(address, int(port))
    start = time.monotonic()
    index = 0
    while True:
        for datagram in frame(way, index):
            client.send(datagram)
        for datagram in eyes(index) if way == "trackers" else []:
            second.send(datagram)
        index += 1
        time.sleep(max(0.0, start + index / 60 - time.monotonic()))


def receive():
    def heard(address, *values):
        print(json.dumps({"address": address, "values": values}), flush=True)

    heard_all = dispatcher.Dispatcher()
    heard_all.set_default_handler(heard)
    server = osc_server.BlockingOSCUDPServer(("127.0.0.1", 0), heard_all)
    print(json.dumps({"port": server.server_address[1]}), flush=True)
    server.serve_forever()


if sys.argv[2] == "receive":
    receive()
elif sys.argv[2] == "ask":
    ask(*sys.argv[3:])
else:
    send(*sys.argv[3:])
