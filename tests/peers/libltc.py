#!/usr/bin/env python3
"""Linear timecode by libltc (Debian's libltc11), for tests/interop/ltc.rs.

libltc.py write FILE.wav RATE TIMECODE FRAMES SAMPLE_RATE   writes frames, and prints the timecode of the last but one
libltc.py read FILE.wav RATE                               prints the timecode of every frame
Without arguments: fails where the library is not there.
"""
import ctypes
import sys
import wave

library = ctypes.CDLL("libltc.so.11")
STANDARDS = {"24": 2, "25": 1, "29.97": 0, "30": 2}  # LTC_TV_525_60, LTC_TV_625_50, LTC_TV_FILM_24: where the parity bit is
FPS = {"24": 24.0, "25": 25.0, "29.97": 30000 / 1001, "30": 30.0}


class Timecode(ctypes.Structure):
    _fields_ = [("timezone", ctypes.c_char * 6)] + [
        (name, ctypes.c_ubyte) for name in ("years", "months", "days", "hours", "mins", "secs", "frame")
    ]


def text(timecode, drop_frame):
    mark = ";" if drop_frame else ":"
    return f"{timecode.hours:02}:{timecode.mins:02}:{timecode.secs:02}{mark}{timecode.frame:02}"


def write(path, rate, start, frames, sample_rate):
    library.ltc_encoder_create.restype = ctypes.c_void_p
    library.ltc_encoder_create.argtypes = [ctypes.c_double, ctypes.c_double, ctypes.c_int, ctypes.c_int]
    encoder = ctypes.c_void_p(library.ltc_encoder_create(sample_rate, FPS[rate], STANDARDS[rate], 0))
    drop_frame = ";" in start
    hours, minutes, seconds, frame = (int(part) for part in start.replace(";", ":").split(":"))
    timecode = Timecode(b"+0000", 0, 1, 1, hours, minutes, seconds, frame)
    library.ltc_encoder_set_timecode(encoder, ctypes.byref(timecode))
    # By itself, it drops frames at 29.97.
    raw = (ctypes.c_ubyte * 10)()
    library.ltc_encoder_get_frame(encoder, raw)
    raw[1] = raw[1] & ~(1 << 2) | drop_frame << 2
    library.ltc_encoder_set_frame(encoder, raw)
    samples = bytearray()
    buffer = (ctypes.c_ubyte * (1 << 16))()
    shown = []
    for _ in range(frames):
        library.ltc_encoder_get_timecode(encoder, ctypes.byref(timecode))
        shown.append(text(timecode, drop_frame))
        library.ltc_encoder_encode_frame(encoder)
        count = library.ltc_encoder_get_buffer(encoder, buffer)
        samples += bytes(buffer[:count])
        library.ltc_encoder_inc_timecode(encoder)
    with wave.open(path, "wb") as file:
        file.setparams((1, 2, int(sample_rate), 0, "NONE", ""))
        file.writeframes(b"".join(((sample - 128) * 250).to_bytes(2, "little", signed=True) for sample in samples))
    print(shown[-2])


def read(path, rate):
    with wave.open(path) as file:
        sample_rate = file.getframerate()
        raw = file.readframes(file.getnframes())
    samples = bytes(
        128 + int.from_bytes(raw[place : place + 2], "little", signed=True) // 258 for place in range(0, len(raw), 2)
    )
    library.ltc_decoder_create.restype = ctypes.c_void_p
    decoder = ctypes.c_void_p(library.ltc_decoder_create(int(sample_rate / FPS[rate]), 4096))
    library.ltc_decoder_write.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_size_t, ctypes.c_longlong]
    library.ltc_decoder_write(decoder, samples, len(samples), 0)
    frame, timecode = (ctypes.c_ubyte * 4096)(), Timecode()
    while library.ltc_decoder_read(decoder, frame):
        library.ltc_frame_to_time(ctypes.byref(timecode), frame, 0)
        print(text(timecode, frame[1] >> 2 & 1))


if len(sys.argv) > 1:
    if sys.argv[1] == "write":
        write(sys.argv[2], sys.argv[3], sys.argv[4], int(sys.argv[5]), float(sys.argv[6]))
    else:
        read(sys.argv[2], sys.argv[3])
