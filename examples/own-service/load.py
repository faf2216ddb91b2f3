#!/usr/bin/env python3
"""load SECONDS RATE PORT...: so many requests per second, to whichever of the ports is open, as a balancer would"""
import socket, sys, threading, time

seconds, rate, *ports = map(int, sys.argv[1:])
room, times, failures = threading.Semaphore(32), [], []

def ask(ports):
    begun = time.monotonic()
    for port in ports:
        try:
            with socket.create_connection(("127.0.0.1", port), 10) as connection:
                connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
                answer = connection.makefile("rb").read()
            break
        except ConnectionRefusedError:
            answer = b"no port is open"
        except OSError as error:
            answer = str(error).encode()
            break
    if answer.startswith(b"HTTP/1.0 200 "):
        times.append(time.monotonic() - begun)
    else:
        failures.append(answer)
    room.release()

begun = time.monotonic()
for count in range(seconds * rate):
    time.sleep(max(0, begun + count / rate - time.monotonic()))
    room.acquire()
    at = count % len(ports)
    threading.Thread(target=ask, args=(ports[at:] + ports[:at],)).start()
for _ in range(32):
    room.acquire()
times.sort()
half = f"half within {times[len(times) // 2] * 1000:.0f} ms" if times else "none in time"
print(f"{len(times)} answers, {len(failures)} failures, {half}", *failures[:1])
