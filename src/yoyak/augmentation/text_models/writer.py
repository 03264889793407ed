"""The language model that params choose."""

from yoyak.augmentation.text_models.chat import ChatModel
from yoyak.augmentation.workspace import Workspace


def open_chat_model(workspace: Workspace) -> ChatModel:
    """The language model of section `augment.writer`. Methods of one run share it."""
    settings = workspace.params.augment.writer

    def load() -> ChatModel:
        if settings.source == "endpoint":
            from yoyak.augmentation.text_models.endpoint_chat import EndpointChat

            return EndpointChat(settings, workspace.params.model.endpoint, mask=workspace.params.prompt.mask)
        from yoyak.augmentation.text_models.local_chat import LocalChat
        from yoyak.system import hardware

        hardware.configure_cpu(workspace.params.hardware.cpu_threads)
        return LocalChat(settings, workspace.kept("writer"))

    model: ChatModel = workspace.shared("writer", load)
    return model


def check_writer(workspace: Workspace) -> str:
    """For `yoyak doctor`: the name of the model in brackets. Nothing is loaded but a tokenizer, and nothing is sent.

    Raises:
        YoyakError: if the checkpoint is missing, not pinned or no chat model, or the key of the API is missing.
    """
    name = open_chat_model(workspace).name
    if workspace.params.augment.writer.source == "local":
        return f"({name})"
    from yoyak.inference.endpoint.client import read_key

    read_key(workspace.params.model.endpoint)
    return f"({name} at {workspace.params.model.endpoint.url})"
