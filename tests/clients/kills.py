"""What the scripts share that send while their server is killed: they go on until stdin is closed, and say how far they are."""

import sys
import threading
import time
import traceback

import kafka_suite

told_to_stop = threading.Event()
_saying = threading.Lock()
_acknowledged = 0
_failed = []


def acknowledged(says_every, count=1):
    """Counts so many more, and says `acknowledged N` now and then."""
    global _acknowledged
    with _saying:
        before, _acknowledged = _acknowledged, _acknowledged + count
        if before // says_every != _acknowledged // says_every:
            print(f"acknowledged {_acknowledged}", flush=True)


def until_it_works(act, broken):
    """Acts again until none of the errors `broken` comes."""
    start = time.monotonic()
    while True:
        try:
            return act()
        except broken as error:
            took = time.monotonic() - start
            assert took < kafka_suite.WAIT_LIMIT, f"the server is not back after {took:.0f} s: {error!r}"
            time.sleep(0.02)


def run(senders):
    """Runs functions, each in a thread, until stdin is closed and all have ended; one that fails ends the script."""
    def kept(sender):
        try:
            sender()
        except BaseException:
            _failed.append(traceback.format_exc())
            told_to_stop.set()

    threading.Thread(target=lambda: (sys.stdin.read(), told_to_stop.set()), daemon=True).start()
    threads = [threading.Thread(target=kept, args=[sender], daemon=True) for sender in senders]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if _failed:
        sys.exit("\n".join(_failed))
