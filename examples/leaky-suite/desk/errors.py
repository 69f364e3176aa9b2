"""What a tool says when it cannot do its work."""


class ToolError(Exception):
    """The text is for the user."""
