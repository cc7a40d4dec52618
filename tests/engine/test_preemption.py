import multiprocessing
import signal
import time

from mmmask.engine.hooks import PreemptionHook


def sleep(ready):
    ready.set()
    time.sleep(60)


def test_a_forked_process_dies_of_sigterm():
    """A pool of processes in an evaluation ends them this way. It would wait forever otherwise."""
    context = multiprocessing.get_context('fork')
    hook = PreemptionHook()
    former = signal.signal(signal.SIGTERM, hook._note)
    try:
        ready = context.Event()
        process = context.Process(target=sleep, args=(ready,))
        process.start()
        assert ready.wait(20)
        process.terminate()
        process.join(20)
        assert process.exitcode == -signal.SIGTERM
        assert signal.getsignal(signal.SIGTERM) == hook._note
    finally:
        process.kill()
        signal.signal(signal.SIGTERM, former)
