"""The user's side of a conversation: what is said to an agent, message by message.

`conversation.py` goes through the entries of a case; `rules.py` and `simulated.py` play a simulated user, by rules over
the agent's answers or by a model, whose messages `staying.py` checks before the agent sees them.

Public names: `Conversation`, `ScriptedUser`, `lack`.
"""

from aegis.agents.users.conversation import Conversation
from aegis.agents.users.needs import lack
from aegis.agents.users.scripted import ScriptedUser

__all__ = ["Conversation", "ScriptedUser", "lack"]
