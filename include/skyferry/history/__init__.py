"""The history of transfers, read from Airflow over REST v2: every run, and what they add up to.

This library imports no Airflow; it uses Airflow's official client. Whoever shows the history (command line, REST,
web page) takes it from here:

    airflow_access   AirflowAccess(url=, token=, found_in=), find_access(): where Airflow is, and the login
    airflow_api      AirflowApi(access): the requests, as whoever the token belongs to; blocking, so use a thread
    transfer_run     TransferRun (state, outcome, report or is_report_missing, shares()), Numbers
    run_cache        RunCache(file), cache_file(url, user): finished runs on this machine; can always be deleted
    run_history      RunHistory(api, cache): latest(limit=, route=), run(run_id), stream(since=)
    run_progress     read_progress(api, run) -> RunProgress: where a run is, by task instances
    object_listing   list_objects(api, run): what became of each object of a run, page by page
    statistics       compute_statistics(runs, since=, route=, group_by=) -> Statistics: the only place that adds up
    run_control      start_run, cancel_run, retry_run, start_audit, start_clean: what changes runs

For example:

    api = AirflowApi(find_access())
    history = RunHistory(api, RunCache(cache_file(api.access.url, api.user)))
    statistics = compute_statistics(history.stream(since=since), since=since, group_by="route")
"""
