"""The clauses of MCP that our server claims to keep, each with what shows it. Sections are those of 2026-07-28 unless
an older revision, a SEP or an RFC is named; the wording is ours. ``suite:`` names a scenario of the conformance suite.
"""

from __future__ import annotations

CLAUSES: dict[str, tuple[str, tuple[str, ...]]] = {
    "basic/versioning discover": (
        "server/discover answers with versions and capabilities",
        ("suite:server-stateless", "test_both_eras_share_one_address_and_a_stopped_server_lets_work_end"),
    ),
    "2025-11-25 basic/lifecycle initialize": (
        "the handshake negotiates a version; a session id names what follows",
        ("suite:server-initialize", "suite:server-session-lifecycle", "suite:ping"),
    ),
    "basic/transports one-endpoint": (
        "stateless requests and sessions of the handshake era share one address",
        ("test_both_eras_share_one_address_and_a_stopped_server_lets_work_end",),
    ),
    "basic/transports stdio": (
        "one JSON-RPC message a line; nothing else goes to stdout",
        ("test_a_host_starts_an_agent_and_is_asked_for_its_persons_word",),
    ),
    "basic/transports origin": (
        "an Origin that is not ours is refused with 403",
        ("test_hosts_and_origins_are_checked", "suite:dns-rebinding-protection"),
    ),
    "basic/transports localhost": (
        "a local server listens on the loopback address alone",
        ("test_an_address_of_the_network_needs_auth", "test_an_address_of_the_network_without_auth_is_a_mistake"),
    ),
    "basic/transports headers": (
        "Mcp-Method, Mcp-Name and Mcp-Param-* say what the body says, or the request is refused (SEP-2243)",
        ("suite:http-header-validation", "suite:http-custom-header-server-validation"),
    ),
    "2025-11-25 basic/transports resume": (
        "a stream that was cut goes on after Last-Event-ID (SEP-1699)",
        ("suite:server-sse-polling", "suite:server-sse-multiple-streams"),
    ),
    "basic/authorization token": (
        "an access token is for us, by its issuer, in time and signed; tokens for others are refused",
        (
            "test_a_jwt_of_the_issuer_for_us_says_who_the_caller_is",
            "test_any_other_jwt_is_refused",
            "test_an_opaque_token_that_is_not_for_us_is_refused",
            "test_an_opaque_token_is_asked_about_once_in_a_while",
            "test_the_tenant_may_be_a_claim",
            "test_our_own_tokens_and_the_issuers_go_together",
        ),
    ),
    "basic/authorization challenge": (
        "401 and 403 say in WWW-Authenticate what is missing and where to get it (RFC 6750, RFC 9728)",
        (
            "test_without_a_good_token_nobody_is_let_in",
            "test_where_to_get_a_token_is_said",
            "test_a_missing_scope_is_named",
        ),
    ),
    "basic/authorization unavailable": (
        "that a token can't be checked now is not the caller's fault: 503",
        (
            "test_without_keys_nobody_can_tell_and_it_is_not_the_callers_fault",
            "test_a_login_server_that_fails_is_not_the_callers_fault",
        ),
    ),
    "basic/cancellation": (
        "a request that is cancelled stops, and what it started",
        (
            "test_a_client_that_gives_up_stops_the_run_and_the_session_says_so",
            "test_a_client_that_hangs_up_ends_a_run_that_is_no_task",
            "test_a_call_that_is_given_up_is_cancelled_and_recorded",
        ),
    ),
    "basic/progress": (
        "progress goes to whoever sent a token, and grows",
        ("test_progress_names_the_turn_and_the_call", "suite:tools-call-with-progress"),
    ),
    "server/tools list": (
        "tools are listed with schemas and hints",
        (
            "test_the_tools_are_offered_with_their_schemas_and_promises",
            "test_named_tools_are_offered_beside_the_agent",
            "test_a_skill_is_a_tool_whose_call_is_a_run_of_its_own",
            "test_a_skill_that_can_not_be_is_the_operators_mistake",
            "suite:tools-list",
            "suite:json-schema-2020-12",
        ),
    ),
    "server/tools validate": (
        "arguments are validated, and what is wrong is told to the model as a failed call",
        (
            "test_arguments_that_do_not_fit_are_told_to_the_model",
            "test_a_call_that_does_not_fit_reaches_no_tool_and_says_what_to_mend",
        ),
    ),
    "server/tools unknown": (
        "an unknown tool is an error of the request, -32602",
        (
            "test_an_unknown_tool_is_an_error_of_the_request",
            "test_a_tool_that_is_not_exposed_is_not_there",
        ),
    ),
    "server/tools failed": (
        "a tool that failed is a result with isError",
        (
            "test_an_engine_that_fails_is_a_failed_call_that_names_the_session",
            "test_a_run_that_ends_for_another_reason_is_a_failed_call_that_says_why",
            "suite:tools-call-error",
        ),
    ),
    "server/tools content": (
        "text, images, sound, resources and structured content",
        (
            "test_a_run_answers_with_words_and_says_how_to_go_on",
            "test_pictures_come_through",
            "suite:tools-call-simple-text",
            "suite:tools-call-image",
            "suite:tools-call-audio",
            "suite:tools-call-embedded-resource",
            "suite:tools-call-mixed-content",
        ),
    ),
    "server/tools rate": (
        "servers must limit the rate of calls",
        (
            "test_more_than_the_rate_is_answered_with_when_to_come_back",
            "test_one_caller_cannot_have_everything_going_on",
        ),
    ),
    "server/resources": (
        "resources are listed, templated and read; one that is not there is -32602 with its uri",
        (
            "test_sessions_and_their_artifacts_can_be_read",
            "test_a_resource_that_is_not_there_is_an_error",
            "suite:resources-list",
            "suite:resources-read-text",
            "suite:resources-read-binary",
            "suite:resources-templates-read",
            "suite:sep-2164-resource-not-found",
        ),
    ),
    "2025-11-25 server/resources subscribe": (
        "a client may subscribe to a resource and take that back",
        (
            "test_who_subscribed_to_a_session_hears_of_its_next_run",
            "test_a_subscriber_that_has_left_costs_nobody_anything",
            "suite:resources-subscribe",
            "suite:resources-unsubscribe",
        ),
    ),
    "server/prompts": (
        "prompts are listed and filled in; missing arguments are an error",
        (
            "test_prompt_templates_of_the_configuration_are_prompts",
            "suite:prompts-list",
            "suite:prompts-get-simple",
            "suite:prompts-get-with-args",
            "suite:prompts-get-embedded-resource",
            "suite:prompts-get-with-image",
        ),
    ),
    "server/utilities/completion": ("arguments can be completed", ("suite:completion-complete",)),
    "2025-11-25 server/utilities/logging": (
        "log messages from the level that the client sets",
        ("suite:logging-set-level", "suite:tools-call-with-logging"),
    ),
    "basic/patterns/caching": ("lists and resources say how long they hold, and for whom", ("suite:caching",)),
    "basic/patterns/subscriptions": (
        "who listens hears of other tools",
        ("test_whoever_listens_hears_that_there_are_other_tools", "suite:server-stateless"),
    ),
    "client/elicitation": (
        "a person is asked through the client in either era, and may decline",
        (
            "test_a_call_that_needs_a_word_is_asked_about_through_the_client",
            "test_always_lets_the_tool_run_for_the_rest_of_the_run_only",
            "test_a_call_that_is_refused_does_not_run_and_the_agent_goes_on",
            "test_what_a_server_behind_it_asks_is_put_to_the_hosts_person",
            "suite:tools-call-elicitation",
            "suite:elicitation-sep1034-defaults",
            "suite:elicitation-sep1330-enums",
        ),
    ),
    "client/elicitation capability": (
        "a client that did not say that it can is not asked",
        (
            "test_where_nobody_can_be_asked_the_call_is_refused",
            "test_where_there_is_no_person_what_a_server_asks_is_not_answered",
            "suite:input-required-result-capability-check",
        ),
    ),
    "client/sampling": (
        "a tool may ask the client's model",
        ("suite:tools-call-sampling", "suite:input-required-result-basic-sampling"),
    ),
    "patterns/mrtr rounds": (
        "a request that needs input is answered with questions, and goes on when it comes again (SEP-2322)",
        (
            "test_a_request_asks_back_and_goes_on_where_it_was",
            "test_a_request_that_comes_back_twice_has_its_effect_once",
            "test_a_request_that_is_not_known_any_more_is_not_begun_anew",
            "test_a_client_that_does_not_come_back_with_answers_is_not_waited_for_for_ever",
            "suite:input-required-result-basic-elicitation",
            "suite:input-required-result-basic-list-roots",
            "suite:input-required-result-multiple-input-requests",
            "suite:input-required-result-multi-round",
            "suite:input-required-result-non-tool-request",
            "suite:input-required-result-result-type",
            "suite:input-required-result-unsupported-methods",
        ),
    ),
    "patterns/mrtr answers": (
        "answers are validated; missing ones are asked for again, others are ignored",
        (
            "suite:input-required-result-missing-input-response",
            "suite:input-required-result-ignore-extra-params",
            "suite:input-required-result-validate-input",
        ),
    ),
    "patterns/mrtr state": (
        "requestState is sealed, for this caller and this request, and holds over a restart",
        (
            "test_a_request_comes_back_as_it_was_or_not_at_all",
            "test_an_approval_can_be_given_after_the_server_was_restarted",
            "suite:input-required-result-request-state",
            "suite:input-required-result-tampered-state",
        ),
    ),
    "SEP-2663 negotiation": (
        "tasks are for clients that know them, request by request; the server decides",
        (
            "test_a_run_is_a_task_for_a_client_that_knows_tasks",
            "test_it_is_an_answer_for_a_client_that_does_not",
            "suite:tasks-capability-negotiation",
            "suite:tasks-required-task-error",
            "suite:tasks-dispatch-and-envelope",
        ),
    ),
    "SEP-2663 lifecycle": (
        "a task is durable before it is told, polled, cancelled, and shows what came of it",
        (
            "test_what_came_of_a_task_is_found_after_a_restart",
            "test_a_task_that_the_server_left_in_the_middle_is_taken_up_by_the_next",
            "test_a_stopped_and_a_killed_server_lose_no_task_and_double_no_effect",
            "test_a_task_that_is_cancelled_stays_so_after_a_restart",
            "test_progress_is_the_words_of_the_task",
            "test_two_runs_of_one_session_at_once_are_refused",
            "suite:tasks-lifecycle",
            "suite:tasks-wire-fields",
            "suite:tasks-request-state-removal",
            "suite:tasks-request-headers",
        ),
    ),
    "SEP-2663 input": (
        "a task that needs input shows its questions, and tasks/update answers them",
        (
            "test_a_task_that_needs_a_word_waits_for_it_and_goes_on",
            "suite:tasks-mrtr-input",
            "suite:tasks-mrtr-composition",
        ),
    ),
    "security_best_practices handles": (
        "a handle is a name and no credential: each request is judged anew, and sees the caller's own",
        (
            "test_a_task_is_nobody_elses_also_after_a_restart",
            "test_a_session_is_nobody_elses",
            "test_each_caller_has_sessions_of_its_own",
        ),
    ),
}
"""Clause: what it asks, and what shows it."""

BEYOND = {
    "test_a_call_that_may_write_is_asked_about",
    "test_a_host_starts_the_gateway_in_front_of_other_servers",
    "test_a_run_can_be_cancelled_at_the_other_door",
    "test_a_run_is_nobody_elses_at_any_door",
    "test_a_run_that_its_door_left_is_taken_up_at_the_other",
    "test_a_run_whose_session_was_taken_away_has_not_failed",
    "test_a_task_at_an_agent_is_found_again_by_a_gateway_that_was_killed",
    "test_a_value_in_a_string_is_repaired_as_for_a_model",
    "test_an_a2a_task_is_an_mcp_task_and_can_be_approved_there",
    "test_an_agents_task_is_an_mcp_task_with_its_questions_and_its_end",
    "test_an_mcp_task_is_an_a2a_task_and_can_be_approved_there",
    "test_another_process_sees_what_waits_and_answers_it",
    "test_calls_at_once_do_not_wait_for_each_other",
    "test_calls_of_one_turn_are_asked_about_together_with_where_their_values_came_from",
    "test_cancelling_the_mcp_task_cancels_the_agents",
    "test_every_call_is_in_a_session_with_its_effect",
    "test_the_command_line_shows_what_waits_and_answers_it",
    "test_the_gateway_is_a_service_too_and_lets_nobody_in_without_the_token",
    "test_what_came_of_a_run_is_found_at_the_other_door_after_a_restart",
    "test_what_fails_at_the_agent_is_a_failed_result",
    "test_what_was_answered_at_one_door_is_asked_at_no_other",
    "test_where_nobody_can_be_asked_it_is_refused",
}
"""Tests of what is ours and no clause of the protocol."""
