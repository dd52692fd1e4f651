"""From a row of a file to an E.164 number, or to the reason why it has none."""

from posthorn.content.recipients.intake import Intake, read_recipients
from posthorn.content.recipients.phones import PhoneReader, Reason
from posthorn.content.recipients.rejects import Reject, RejectsFile

__all__ = ["Intake", "PhoneReader", "Reason", "Reject", "RejectsFile", "read_recipients"]
