"""Messages of RFC 5228 §9, and short ways to run a script on one."""

from libs.protocols.sieve.action import Keep
from libs.protocols.sieve.message import Message
from libs.protocols.sieve.run import Limits, Surroundings
from libs.protocols.sieve.script import EXTENSIONS, compile_script

# RFC 5228 §9: the two messages of the extended example.
MESSAGE_A = b"""Date: Tue, 1 Apr 1997 09:06:31 -0800 (PST)\r
From: coyote@desert.example.org\r
To: roadrunner@acme.example.com\r
Subject: I have a present for you\r
\r
Look, I'm sorry about the whole anvil thing, and I really\r
didn't mean to try and drop it on you from the top of the\r
cliff.  I want to try to make it up to you.  I've got some\r
great birdseed over here at my place--top of the line\r
stuff--and if you come by, I'll have it all wrapped up\r
for you.  I'm really sorry for all the problems I've caused\r
for you over the years, but I know we can work this out.\r
--\r
Wile E. Coyote   "Super Genius"   coyote@desert.example.org\r
"""
MESSAGE_B = b"""From: youcouldberich!@reply-by-postal-mail.invalid\r
Sender: b1ff@de.res.example.com\r
To: rube@landru.example.com\r
Date:  Mon, 31 Mar 1997 18:26:10 -0800\r
Subject: $$$ YOU, TOO, CAN BE A MILLIONAIRE! $$$\r
\r
YOU MAY HAVE ALREADY WON TEN MILLION DOLLARS, BUT I DOUBT\r
IT!  SO JUST POST THIS TO SIX HUNDRED NEWSGROUPS!  IT WILL\r
GUARANTEE THAT YOU GET AT LEAST FIVE RESPONSES WITH MONEY!\r
MONEY! MONEY! COLD HARD CASH!  YOU WILL RECEIVE OVER\r
$20,000 IN LESS THAN TWO MONTHS!  AND IT'S LEGAL!!!!!!!!!\r
!!!!!!!!!!!!!!!!!!111111111!!!!!!!11111111111!!1  JUST\r
SEND $5 IN SMALL, UNMARKED BILLS TO THE ADDRESSES BELOW!\r
"""
AROUND = Surroundings(
    reverse_path="coyote@desert.example.org",
    recipient="roadrunner+trap@acme.example.com",
    now=1_700_000_000.0,
    items={"location": "MDA", "name": "Holub"},
    mailbox_exists=lambda name: name in ("INBOX", "Partners"),
)
NORMAL = Limits()
KEPT = (Keep(implicit=True),)
ALL = ", ".join(f'"{name}"' for name in sorted(EXTENSIONS))


def actions(script, message=MESSAGE_A, around=AROUND, limits=NORMAL):
    result = compile_script(script).run(Message(message), around, limits)
    assert result.fault == ""
    return result.actions


def holds(test, message=MESSAGE_A, around=AROUND):
    """Whether a test is true, with every extension required."""
    result = actions(f"require [{ALL}]; if {test} {{ discard; }}", message, around)
    assert result in ((), KEPT)
    return result == ()
