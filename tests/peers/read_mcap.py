"""Reads a take by the MCAP packages of Foxglove (PyPI: mcap, mcap-protobuf-support), as docs/takes.md says.

    PYTHONPATH=... python3 read_mcap.py TAKE.mcap

Prints one line of JSON: of each topic its schema and messages, and the metadata and attachments. Floats are written by their
bits, so that nothing is rounded on the way.
"""

import json
import math
import struct
import sys

from google.protobuf.json_format import MessageToDict
from mcap.reader import make_reader
from mcap_protobuf.decoder import DecoderFactory

STEP = 32767 * math.sqrt(2)


def bits(values):
    return struct.pack(f"<{len(values)}f", *values).hex()


def weights_of(message):
    return bits([step / 255 for step in message.steps] or list(message.weights))


def rotation_of(head):
    if not head.HasField("rotation_steps"):
        rotation = head.rotation
        return bits([rotation.x, rotation.y, rotation.z, rotation.w])
    steps = head.rotation_steps
    largest = (3, 0, 1, 2)[steps.left_out]
    parts = [part / STEP for part in (steps.x, steps.y, steps.z, steps.w)]
    parts[largest] = math.sqrt(max(0.0, 1 - sum(part * part for place, part in enumerate(parts) if place != largest)))
    return bits(parts)


def position_of(head):
    if head.HasField("position_mm"):
        mm = head.position_mm
        return bits([mm.x / 1000, mm.y / 1000, mm.z / 1000])
    if head.HasField("position"):
        return bits([head.position.x, head.position.y, head.position.z])
    return None


def gaze_of(face):
    names = ("left_yaw", "left_pitch", "right_yaw", "right_pitch")
    if face.HasField("gaze_steps"):
        return bits([getattr(face.gaze_steps, name) / 8192 for name in names])
    if face.HasField("gaze"):
        return bits([getattr(face.gaze, name) for name in names])
    return None


def face_of(face):
    stamp = face.stamp
    return {
        "weights": weights_of(face),
        "missing": face.missing,
        "rotation": rotation_of(face.head) if face.HasField("head") else None,
        "position": position_of(face.head) if face.HasField("head") else None,
        "gaze": gaze_of(face),
        "tracked": not face.untracked,
        "sequence": face.sequence if face.HasField("sequence") else None,
        "stamp": [stamp.capture_us, stamp.base_us, stamp.queue_us, stamp.epoch, stamp.interval_us]
        if face.HasField("stamp")
        else None,
        "late": face.late,
        "viseme": face.speech.viseme if face.HasField("speech") else None,
        "below": weights_of(face.speech) if face.HasField("speech") else None,
        "channels": [[channel.name, bits([channel.value])] for channel in face.channels],
    }


def main(path):
    factory = DecoderFactory()
    topics = {}
    with open(path, "rb") as file:
        reader = make_reader(file)
        for schema, channel, message in reader.iter_messages():
            topic = topics.setdefault(channel.topic, {"schema": schema.name, "metadata": channel.metadata, "messages": []})
            if channel.message_encoding == "json":
                json.loads(schema.data)
                said = json.loads(message.data)
            else:
                decoded = factory.decoder_for(channel.message_encoding, schema)(message.data)
                said = face_of(decoded) if schema.name == "facelink.Face" else MessageToDict(decoded)
            topic["messages"].append([message.log_time, said])
        metadata = {record.name: record.metadata for record in reader.iter_metadata()}
        attachments = {record.name: record.data.decode() for record in reader.iter_attachments()}
    print(json.dumps({"topics": topics, "metadata": metadata, "attachments": attachments}))


main(sys.argv[1])
