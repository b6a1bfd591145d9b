from __future__ import annotations

import signal
import threading

import pytest

from minaction.study.clean_up import CleansUp, interrupts_held_back


class Borrowed(CleansUp):
    """Gives back two things in two steps, between which Ctrl-C is pressed once more."""

    def __init__(self, *, failing=False):
        self.failing, self.given_back = failing, []

    def _open(self, opening):
        opening.callback(self.given_back.append, "first")
        opening.callback(signal.raise_signal, signal.SIGINT)
        opening.callback(self.given_back.append, "second")
        if self.failing:
            raise OSError("no room")


def test_a_clean_up_is_not_cut_short_by_ctrl_c():
    reached = []

    def clean_up():
        with interrupts_held_back():
            signal.raise_signal(signal.SIGINT)
            reached.append("the end")

    with pytest.raises(KeyboardInterrupt):
        clean_up()
    assert reached == ["the end"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_all_is_given_back_whatever_signal_comes_meanwhile():
    borrowed = Borrowed()
    with pytest.raises(KeyboardInterrupt), borrowed:
        assert borrowed.given_back == []
    assert borrowed.given_back == ["second", "first"]


def test_what_was_had_already_is_given_back_where_the_rest_cannot_be_had():
    borrowed = Borrowed(failing=True)
    with pytest.raises(KeyboardInterrupt), borrowed:
        pytest.fail("entered")
    assert borrowed.given_back == ["second", "first"]


def test_signals_are_left_alone_outside_the_main_thread():
    done = []

    def clean_up():
        with interrupts_held_back():
            done.append(True)

    thread = threading.Thread(target=clean_up)
    thread.start()
    thread.join()
    assert done == [True]
