"""Reads exported takes by pygltflib (glb, vrma) and OpenUSD (usda), and compares them with the JSON lines of the same take.

    read_takes.py EXPECTED.jsonl FILE...

Prints a line of JSON for each file: the largest error of a weight and of the head's and gaze's quaternions, the duration in
seconds, keys of the first curve, and how many expressions, targets or blend shapes there are.
"""
import bisect
import json
import math
import struct
import sys

frames = [json.loads(line) for line in open(sys.argv[1], encoding="utf-8")]
frames = [frame for frame in frames if frame["tracked"]]


def along(times, rows, time):
    after = bisect.bisect_right(times, time)
    if after == 0:
        return rows[0]
    if after == len(times):
        return rows[-1]
    share = (time - times[after - 1]) / (times[after] - times[after - 1])
    return [a + (b - a) * share for a, b in zip(rows[after - 1], rows[after])]


def turn_error(is_, wanted):
    length = math.sqrt(sum(part * part for part in is_))
    dot = abs(sum(a * b / length for a, b in zip(is_, wanted)))
    return 2 * math.acos(min(1.0, dot))


def gaze_turn(frame):
    """Yaw and pitch of both eyes in the middle, as a quaternion x, y, z, w."""
    left, right = frame["gaze"]["left"], frame["gaze"]["right"]
    yaw, pitch = (left[0] + right[0]) / 4, -(left[1] + right[1]) / 4
    (sy, cy), (sx, cx) = (math.sin(yaw), math.cos(yaw)), (math.sin(pitch), math.cos(pitch))
    return [cy * sx, sy * cx, -sy * sx, cy * cx]


def gltf(path):
    import pygltflib

    document = pygltflib.GLTF2().load_binary(path)
    blob = document.binary_blob()

    def numbers(index):
        accessor = document.accessors[index]
        view = document.bufferViews[accessor.bufferView]
        width = {"SCALAR": 1, "VEC3": 3, "VEC4": 4}[accessor.type]
        assert accessor.componentType == pygltflib.FLOAT
        start = (view.byteOffset or 0) + (accessor.byteOffset or 0)
        return list(struct.unpack_from(f"<{accessor.count * width}f", blob, start)), accessor

    animation = document.animations[-1]
    curves = {}
    for channel in animation.channels:
        sampler = animation.samplers[channel.sampler]
        times, accessor = numbers(sampler.input)
        assert accessor.min == [times[0]] and accessor.max == [times[-1]], path
        assert all(a < b for a, b in zip(times, times[1:])), path
        values, _ = numbers(sampler.output)
        width = len(values) // len(times)
        rows = [values[at : at + width] for at in range(0, len(values), width)]
        curves[(channel.target.node, channel.target.path)] = (times, rows)
    extension = (document.extensions or {}).get("VRMC_vrm_animation")
    weights, turns = {}, []
    if extension:
        assert extension["specVersion"] == "1.0"
        for name, expression in extension["expressions"]["custom"].items():
            times, rows = curves[(expression["node"], "translation")]
            weights[name] = (times, rows, 0)
        head = extension["humanoid"]["humanBones"]["head"]["node"]
        turns.append((curves[(head, "rotation")], lambda frame: frame["head"]["rotation"]))
        turns.append((curves[(extension["lookAt"]["node"], "rotation")], gaze_turn))
    else:
        for (node, path_), (times, rows) in curves.items():
            if path_ == "weights":
                names = document.meshes[document.nodes[node].mesh].extras["targetNames"]
                for place, name in enumerate(names):
                    weights.setdefault(name, (times, rows, place))
            elif document.nodes[node].name == "Head":
                turns.append(((times, rows), lambda frame: frame["head"]["rotation"]))
    worst, turned = 0.0, 0.0
    for frame in frames:
        for name, (times, rows, place) in weights.items():
            worst = max(worst, abs(along(times, rows, frame["time"])[place] - frame["blendshapes"][name]))
        for (times, rows), wanted in turns:
            turned = max(turned, turn_error(along(times, rows, frame["time"]), wanted(frame)))
    first = next(iter(curves.values()))
    duration = max(times[-1] for times, _ in curves.values())
    return {"error": worst, "turn": turned, "turns": len(turns), "duration": duration, "keys": len(first[0]), "shapes": len(weights)}


def usda(path):
    from pxr import Usd, UsdSkel

    stage = Usd.Stage.Open(path)
    rate = stage.GetTimeCodesPerSecond()
    skeleton = UsdSkel.Skeleton(stage.GetPrimAtPath("/Face/Skeleton"))
    query = UsdSkel.Cache()
    root = UsdSkel.Root(stage.GetPrimAtPath("/Face"))
    query.Populate(root, Usd.TraverseInstanceProxies())
    animation = query.GetSkelQuery(skeleton).GetAnimQuery()
    names = [str(name) for name in animation.GetBlendShapeOrder()]
    joints = [str(name) for name in animation.GetJointOrder()]
    worst, turned = 0.0, 0.0
    for frame in frames:
        code = Usd.TimeCode(frame["time"] * rate)
        for name, weight in zip(names, animation.ComputeBlendShapeWeights(code)):
            worst = max(worst, abs(weight - frame["blendshapes"][name]))
        rotation = animation.ComputeJointLocalTransformComponents(code)[1][joints.index("Head")]
        imaginary = rotation.GetImaginary()
        turned = max(turned, turn_error([*imaginary, rotation.GetReal()], frame["head"]["rotation"]))
    duration = (stage.GetEndTimeCode() - stage.GetStartTimeCode()) / rate
    samples = UsdSkel.Animation(stage.GetPrimAtPath("/Face/Animation")).GetBlendShapeWeightsAttr().GetNumTimeSamples()
    return {"error": worst, "turn": turned, "turns": 1, "duration": duration, "keys": samples, "shapes": len(names), "rate": rate}


for path in sys.argv[2:]:
    found = usda(path) if path.endswith(".usda") else gltf(path)
    print(json.dumps({"file": path, **found}), flush=True)
