from labelbench_ray.benchmark.run_folder import new_run, running


def test_a_run_is_known_while_it_is_driven(tmp_path):
    run = new_run(tmp_path)
    assert running(tmp_path) == []
    with run.driven():
        (found,) = running(tmp_path)
        assert found.name == run.name
        assert found.driver() is not None
    assert running(tmp_path) == []


def test_stopping_one_run_stops_no_other(tmp_path):
    first, second = new_run(tmp_path), new_run(tmp_path)
    assert first.name != second.name
    first.ask_to_stop("SIGINT")
    assert (first.asked_to_stop, first.may_start_trials, first.why) == (True, False, "SIGINT")
    assert (second.asked_to_stop, second.may_start_trials, second.why) == (False, True, "")


def test_a_run_that_starts_no_more_lets_trials_go_on(tmp_path):
    run = new_run(tmp_path)
    run.start_no_more("too many failed")
    assert (run.asked_to_stop, run.may_start_trials, run.why) == (False, False, "too many failed")
