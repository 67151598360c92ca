# Prints everything requests shows of one answer: status, header order and case, body.
import sys

import requests

answer = requests.get(sys.argv[1], stream=True, timeout=30)
print(answer.raw.version, answer.status_code, answer.reason)
for name, value in answer.raw.headers.items():
    print(f"{name}: {value}")
sys.stdout.flush()
sys.stdout.buffer.write(answer.raw.read(decode_content=False))
