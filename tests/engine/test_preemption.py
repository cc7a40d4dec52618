import multiprocessing
import os
import signal
import subprocess
import sys
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


def test_a_forked_process_dies_of_a_signal_that_comes_at_once():
    """Python forgets signals that arrive before a new process is ready."""
    hook = PreemptionHook()
    former = signal.signal(signal.SIGTERM, hook._note)
    try:
        for _ in range(100):
            child = os.fork()
            if child == 0:
                time.sleep(20)
                os._exit(0)
            os.kill(child, signal.SIGTERM)
            assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGTERM
    finally:
        signal.signal(signal.SIGTERM, former)


def test_a_signal_while_a_process_forks_is_not_lost():
    """Python ignores what is raised meanwhile, such as the SystemExit of a handler."""
    code = """
import os, signal
from mmmask.engine.hooks.preemption import leave_when_told
os.register_at_fork(before=lambda: os.kill(os.getpid(), signal.SIGTERM))
leave_when_told()
if os.fork() == 0:
    os._exit(0)
os.wait()
print('went on')
"""
    result = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)
    assert (result.returncode, result.stdout) == (75, '')
    assert 'Stopped by SIGTERM outside of training' in result.stderr


def test_signals_arrive_again_after_a_fork():
    hook = PreemptionHook()
    assert hook.signals == [signal.SIGTERM, signal.SIGUSR1]
    signal.pthread_sigmask(signal.SIG_BLOCK, hook.signals)  # as a fork that was interrupted
    child = os.fork()
    if child == 0:
        os._exit(len(signal.pthread_sigmask(signal.SIG_BLOCK, [])))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert not signal.pthread_sigmask(signal.SIG_BLOCK, []) & set(hook.signals)
