#!/usr/bin/env python3
"""What the driver holds up while it loads or unloads a kernel, on a GPU that is busy.

    loading.py --out loading.txt

A kernel runs until it is told to end. Meanwhile one thread calls the driver, and a little later another one launches an empty kernel on
another stream of the same device, and a third on another device, if there is one. Printed is how long each call took, in milliseconds;
the kernel is told to end after a second. *Behind a queue* it is ten kernels of 200 ms instead, one behind the other.
"""

import argparse
import ctypes
import sys
import threading
import time

PTX = b"""
.version 7.8
.target sm_80
.address_size 64
.visible .entry busy(.param .u64 flag) {
  .reg .pred %p; .reg .u64 %a; .reg .u32 %v;
  ld.param.u64 %a, [flag];
again:
  ld.volatile.global.u32 %v, [%a];
  setp.eq.u32 %p, %v, 0;
  @%p bra again;
  ret;
}
.visible .entry timed() {
  .reg .pred %p; .reg .u64 %begin, %now;
  mov.u64 %begin, %globaltimer;
again:
  mov.u64 %now, %globaltimer;
  sub.u64 %now, %now, %begin;
  setp.lt.u64 %p, %now, 200000000;
  @%p bra again;
  ret;
}
.visible .entry nothing() { ret; }
"""
NON_BLOCKING = 1
MAPPED = 3  # for every context
cuda = ctypes.CDLL("libcuda.so.1")


def call(name: str, *arguments: object) -> None:
    error = getattr(cuda, name)(*arguments)
    if error:
        text = ctypes.c_char_p()
        cuda.cuGetErrorName(error, ctypes.byref(text))
        sys.exit(f"{name}: {text.value}")


def made(name: str, *arguments: object) -> ctypes.c_void_p:
    """What a function of the driver writes to its first argument."""
    result = ctypes.c_void_p()
    call(name, ctypes.byref(result), *arguments)
    return result


class Device:
    def __init__(self, ordinal: int) -> None:
        self.context = made("cuDevicePrimaryCtxRetain", ordinal)
        self.enter()
        self.module = self.load()
        self.waits, self.free = made("cuStreamCreate", NON_BLOCKING), made("cuStreamCreate", NON_BLOCKING)
        self.launch("nothing", self.free)
        call("cuStreamSynchronize", self.free)

    def enter(self) -> None:
        call("cuCtxSetCurrent", self.context)

    def load(self) -> ctypes.c_void_p:
        return made("cuModuleLoadData", PTX)

    def library(self) -> ctypes.c_void_p:
        return made("cuLibraryLoadData", PTX, None, None, 0, None, None, 0)

    def first_launch(self, library: ctypes.c_void_p) -> None:
        kernel = made("cuLibraryGetKernel", library, b"nothing")
        self.launch_function(made("cuKernelGetFunction", kernel), self.free)

    def launch(self, name: str, stream: ctypes.c_void_p, *arguments: ctypes.c_void_p) -> None:
        self.launch_function(made("cuModuleGetFunction", self.module, name.encode()), stream, *arguments)

    def launch_function(self, function: ctypes.c_void_p, stream: ctypes.c_void_p, *arguments: ctypes.c_void_p) -> None:
        places = (ctypes.c_void_p * len(arguments))(*(ctypes.addressof(argument) for argument in arguments))
        call("cuLaunchKernel", function, 1, 1, 1, 1, 1, 1, 0, stream, places, None)


def milliseconds(device: Device, what: object, times: dict, name: str) -> threading.Thread:
    def run() -> None:
        device.enter()
        began = time.monotonic()
        what()
        times[name] = 1e3 * (time.monotonic() - began)

    thread = threading.Thread(target=run)
    thread.start()
    return thread


def measure(devices: list[Device], queue: bool, what: object) -> dict[str, float]:
    busy = devices[0]
    busy.enter()
    host = made("cuMemHostAlloc", ctypes.c_size_t(4), MAPPED)
    flag = ctypes.cast(host, ctypes.POINTER(ctypes.c_uint32))
    flag[0] = 0
    if queue:
        for _ in range(10):
            busy.launch("timed", busy.waits)
    else:
        busy.launch("busy", busy.waits, made("cuMemHostGetDevicePointer_v2", host, 0))
    time.sleep(0.05)
    times: dict[str, float] = {}
    threads = [milliseconds(busy, what, times, "call")]
    time.sleep(0.1)
    for name, device in zip(("same device", "other device"), devices):
        threads.append(milliseconds(device, lambda device=device: device.launch("nothing", device.free), times, name))
    time.sleep(1)
    flag[0] = 1
    for thread in threads:
        thread.join()
    busy.enter()
    call("cuCtxSynchronize")
    call("cuMemFreeHost", host)
    return times


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", default="loading.txt", help="the file for the reading (default: %(default)s)")
    options = parser.parse_args()
    call("cuInit", 0)
    count, version = ctypes.c_int(), ctypes.c_int()
    call("cuDeviceGetCount", ctypes.byref(count))
    call("cuDriverGetVersion", ctypes.byref(version))
    name = ctypes.create_string_buffer(64)
    call("cuDeviceGetName", name, 64, 0)
    devices = [Device(ordinal) for ordinal in range(min(count.value, 2))]
    busy = devices[0]
    busy.enter()
    modules, libraries = [busy.load() for _ in range(2)], [busy.library() for _ in range(2)]
    memory = made("cuMemAlloc_v2", ctypes.c_size_t(1 << 20))
    cases = {
        "nothing": (False, lambda: None),
        "load a module": (False, busy.load),
        "load a module behind a queue": (True, busy.load),
        "unload a module": (False, lambda: call("cuModuleUnload", modules[0])),
        "load a library": (False, busy.library),
        "load a library behind a queue": (True, busy.library),
        "launch a library's kernel first": (False, lambda: busy.first_launch(libraries[0])),
        "unload a library": (False, lambda: call("cuLibraryUnload", libraries[1])),
        "free memory": (False, lambda: call("cuMemFree_v2", memory)),
    }
    with open(options.out, "w", encoding="utf-8") as out:

        def tell(line: str) -> None:
            print(line, flush=True)
            out.write(line + "\n")

        tell(f"{len(devices)} x {name.value.decode()}, CUDA driver {version.value // 1000}.{version.value % 1000 // 10}, milliseconds")
        for case, (queue, what) in cases.items():
            times = measure(devices, queue, what)
            tell(f"{case:32}" + "".join(f"  {name} {took:8.1f}" for name, took in times.items()))


if __name__ == "__main__":
    main()
