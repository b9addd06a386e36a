"""A contender that counts its turns, and ends before it has counted to 10."""

import json
import sys

from benchmarks import interleaved

if __name__ == '__main__':
  numbers = iter(range(json.loads(sys.argv[1]) + 1, 10))
  interleaved.serve(lambda: next(numbers))
