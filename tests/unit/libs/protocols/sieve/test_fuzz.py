"""Whatever a script or a message holds, there is an answer and the mail is not lost."""

from hypothesis import given, settings
from hypothesis import strategies as st

from libs.protocols.sieve.action import Keep
from libs.protocols.sieve.fault import SieveError
from libs.protocols.sieve.message import Message
from libs.protocols.sieve.run import Surroundings
from libs.protocols.sieve.script import EXTENSIONS, compile_script

_WORDS = st.sampled_from(
    """if elsif else require keep discard stop fileinto redirect reject set addflag hasflag header
    address envelope body date currentdate size exists not allof anyof true string ihave :is
    :contains :matches :regex :count :value :comparator :index :last :over :copy :flags :zone :raw
    :content :upper ( ) [ ] { } ; , 1 2K "from" "to" "a*?" "${1}" "gt" "i;octet"
    "i;ascii-numeric" "year" "(x" "a@b.example" text:""".split()  # noqa: SIM905
)
_SCRIPTS = st.lists(_WORDS, max_size=40).map(" ".join) | st.text(max_size=200)
_ALL = "require [" + ",".join(f'"{name}"' for name in sorted(EXTENSIONS - {"ihave"})) + "];"


@settings(max_examples=100, deadline=None)
@given(_SCRIPTS)
def test_any_text_is_a_script_or_has_an_error_with_a_place(text):
    try:
        script = compile_script(_ALL + text)
    except SieveError as error:
        place = (error.line, error.column)
    else:
        result = script.run(Message(b"From: a@b.example\r\nTo: x\r\n\r\ny"), Surroundings())
        assert not result.fault or result.actions == (Keep(implicit=True),)
        place = (1, 1)

    assert min(place) >= 1


_EVERYTHING = compile_script(
    _ALL
    + """
    if header :matches "subject" "*?a*" { set "s" "${1}${2}"; }
    if header :regex ["subject","from"] "(.)b*" { set "r" "${1}"; }
    if address :detail :comparator "i;unicode-casemap" :contains ["from","to"] "x"
    { addflag "${s}"; }
    if body :text :contains "${r}" { fileinto :copy "a${r}"; }
    if body :content "" :matches "*b*" { addflag "b"; }
    if date :originalzone "date" "std11" "x" { stop; }
    if header :value "gt" :comparator "i;ascii-numeric" "x" "5" { keep; }
    """
)


@settings(max_examples=100, deadline=None)
@given(
    st.binary(max_size=300)
    | st.tuples(st.binary(max_size=60), st.binary(max_size=60), st.binary(max_size=120)).map(
        lambda parts: b"Subject: %b\r\nFrom: %b\r\nDate: 1 Jan 0001 00:00 +2359\r\n\r\n%b" % parts
    )
)
def test_any_octets_are_a_message(content):
    result = _EVERYTHING.run(Message(content, b"Received: x\r\n"), Surroundings())

    assert any(isinstance(action, Keep) for action in result.actions)
