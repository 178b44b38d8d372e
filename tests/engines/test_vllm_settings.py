"""What the engine of token ids refuses before a model is there."""

import pytest

from agentrt.engines.retry import Patience
from agentrt.engines.vllm_held import refuse_where_unsound
from agentrt.engines.vllm_http import Server
from agentrt.engines.vllm_local import Settings
from agentrt.errors import ConfigError


class Config:
    def __init__(self, *, draft: object = None, state: bool = False) -> None:
        self.speculative_config = draft
        self.model_config = self
        self.has_inner_state = state


@pytest.mark.parametrize("seconds", [0, -1, float("nan")])
def test_a_request_is_kept_for_more_than_no_time(seconds: float) -> None:
    with pytest.raises(ConfigError, match="idle_seconds is how long"):
        Settings(resumable=True, idle_seconds=seconds)


def test_a_server_keeps_no_request() -> None:
    server = Server("http://127.0.0.1:1", "m", tokenizer="", key="", patience=Patience(), trust_remote_code=False)
    with pytest.raises(ConfigError, match="leave out the engine option `resumable`"):
        server.conversation(1.0)


def test_no_request_is_kept_where_its_last_token_may_be_kept_too() -> None:
    refuse_where_unsound(Config())
    for config in (Config(draft=object()), Config(state=True)):
        with pytest.raises(ConfigError, match="leave out the engine option `resumable`"):
            refuse_where_unsound(config)
