"""How questions are put into words.

A template is a sentence with `{slots}` and with `[alternatives|separated|by bars]`, of which one is picked at random.
`HELD_OUT` is never used in training: it measures whether a question put in other words is still understood.
"""

from __future__ import annotations

import random
import re

_ALTERNATIVES = re.compile(r"\[([^\[\]]*)\]")

TRAIN: dict[str, tuple[str, ...]] = {
    "colour": (
        "[What|Which] [colour|color] is {the}?",
        "What is the [colour|color] of {the}?",
        "[Tell me|Name|Say|State] the [colour|color] of {the}.",
        "{The} [has|shows|comes in] what [colour|color]?",
        "[What|Which] [colour|color] does {the} have?",
        "[Give|Identify|Find] the [colour|color] of {the}.",
        "[In what|In which] [colour|color] is {the} [drawn|painted|shown|filled]?",
        "[What is|What's] {the}'s [colour|color]?",
        "[How|In what colour|In which color] is {the} [coloured|colored|painted]?",
        "The [colour|color] of {the} is",
        "[Can|Could] you tell [me|us] [what|which] [colour|color] {the} is?",
        "I [want|would like|need] to know the [colour|color] of {the}.",
        "[What|Which] [shade|hue|tint|paint] [is|was used for] {the}?",
        "{The}: [what|which] [colour|color]?",
        "[Colour|Color] of {the}?",
    ),
    "shape": (
        "[What|Which] shape is {the}?",
        "What is the shape of {the}?",
        "[What|Which] [kind|type|sort] of [shape|figure] is {the}?",
        "[Tell me|Name|Say|State|Give|Identify] the shape of {the}.",
        "{The} [is|has] what shape?",
        "[What|Which] shape does {the} have?",
        "What [form|figure|outline] [is|has] {the}?",
        "[Is {the} a circle, a square or something else|What would you call {the}]?",
        "[Can|Could] you [tell me|say] [what|which] shape {the} is?",
        "The shape of {the} is",
        "[What is|What's] {the}'s shape?",
        "{The}: [what|which] [shape|figure]?",
        "Shape of {the}?",
    ),
    "what_is_it": (
        "What [shape|figure] is [this|it|that|shown|drawn|there]?",
        "[What|Which] shape [do you see|can you see|is shown|is drawn|is in the {picture}|does the {picture} show]?",
        "[Name|Identify|Recognise] the [shape|figure].",
        "[What|Which] [figure|geometric shape] is [shown|drawn|depicted] [here|in the {picture}|in this {picture}]?",
        "The shape in the {picture} is",
    ),
    "background": (
        "[What|Which] [colour|color] is the background[| of the {picture}| of this {picture}]?",
        "What is the background [colour|color]?",
        "What is the [colour|color] of the [background|backdrop]?",
        "[Tell me|Name|State|Say|Give] the [background colour|background color|colour of the background|color of the background].",
        "The background is what [colour|color]?",
        "[On what|On which] [colour|color] background [is everything|are the shapes|is it all] [drawn|shown|placed]?",
        "[What|Which] [colour|color] is [behind|underneath] [the objects|the shapes|everything|it all]?",
        "[What|Which] [colour|color] does the background have?",
        "[What is|What's] the [colour|color] behind [everything|the things|it]?",
        "[What|Which] [colour|color] is the [canvas|backdrop|page|paper]?",
        "The background [colour|color] is",
        "[Can|Could] you tell me the [colour|color] of the background?",
        "[What|Which] [colour|color] fills the [background|backdrop]?",
        "Background [colour|color]?",
    ),
    "count": (
        "How many {things} [are there|are in the {picture}|are in this {picture}|are shown|are visible|do you see]?",
        "How many {things} can [you|we|be] [see|count|find]?",
        "How many {things} does the {picture} [contain|have|show]?",
        "Count the {things}[| in the {picture}| you see].",
        "What is the [number|count|total|total number] of {things}?",
        "[Tell me|Say|State|Give] [how many {things} there are|the number of {things}].",
        "What number of {things} [is|are] [shown|there|visible|in the {picture}]?",
        "The number of {things} [in the {picture}|] is",
        "There are how many {things}[| here| in the {picture}]?",
        "[Can|Could] you count the {things}?",
        "How many {things}?",
        "How many {things} [exist|appear|occur|are present|are drawn] [|here|in the {picture}|in this {picture}]?",
        "Number of {things}?",
        "[I see some {things}, how many|{Things}: how many]?",
    ),
    "exists": (
        "Is there {a}?",
        "Is there {a} in [the|this] {picture}?",
        "Does [the|this] {picture} [contain|show|have|include] {a}?",
        "[Do|Can] you see {a}[| anywhere| in the {picture}| here]?",
        "Is {a} [shown|visible|present|in the {picture}|in this {picture}|to be seen|there]?",
        "Can {a} be [seen|found][| in the {picture}]?",
        "Is there {a} [somewhere|anywhere|to be found|visible|present|here]?",
        "[Can|Could] you [find|spot|see] {a}?",
        "[Tell me|Say] [if|whether] there is {a}.",
        "[Check|Tell me|Say] [if|whether] the {picture} [has|contains|shows] {a}.",
        "Has the {picture} got {a}?",
        "[Is it true|Is it correct|Is it right] that there is {a}?",
        "There is {a}, [right|correct|true|isn't there|yes or no]?",
        "{A} [is in the {picture}|is shown|can be seen]: [true or false, yes or no|yes or no]?",
        "Any {thing} [here|in the {picture}|there|visible]?",
        "[Are|Are there] any {things}[| here| in the {picture}| to be seen]?",
        "Does {a} [appear|occur|exist] [in the {picture}|in this {picture}|here|anywhere]?",
        "Is at least one {thing} [shown|there|visible|present]?",
    ),
    "absent": (
        "Is there no {thing}[| in the {picture}| here]?",
        "Are there no {things}[| in the {picture}| here| at all]?",
        "Is [the|this] {picture} [without|free of] {things}?",
        "Is {a} missing[| from the {picture}]?",
        "Does [the|this] {picture} [contain|show|have] no {thing}?",
        "Is it [true|correct|right] that there is no {thing}?",
        "[Tell me|Say] [if|whether] there is no {thing}.",
        "Is {a} absent[| from the {picture}]?",
        "[Do|Can] you see no {thing}[| here| in the {picture}]?",
    ),
    "is_colour": (
        "Is {the} {colour}?",
        "Is the [colour|color] of {the} {colour}?",
        "Is {the} [painted|coloured|colored|drawn in|filled with] {colour}?",
        "{The} is {colour}, [right|correct|isn't it|yes or no|true]?",
        "[Is it true|Is it correct|Is it right] that {the} is {colour}?",
        "Does {the} have the [colour|color] {colour}?",
        "[Can|Could|Would] you [say|call] {the} {colour}?",
        "[Tell me|Say|Check] [if|whether] {the} is {colour}.",
    ),
    "is_shape": (
        "Is {the} {a_shape}?",
        "Does {the} have the shape of {a_shape}?",
        "{The} is {a_shape}, [right|correct|isn't it|yes or no|true]?",
        "[Is it true|Is it correct|Is it right] that {the} is {a_shape}?",
        "Is {a_shape} what {the} is?",
        "[Tell me|Say|Check] [if|whether] {the} is {a_shape}.",
        "Is {the} shaped like {a_shape}?",
    ),
    "count_is": (
        "Are there [|exactly ]{number} {things}[| in the {picture}| here]?",
        "Does [the|this] {picture} [contain|show|have] [|exactly ]{number} {things}?",
        "[Can|Do] you see [|exactly ]{number} {things}?",
        "Is the number of {things} {number}?",
        "[Is it true|Is it correct] that there are {number} {things}?",
    ),
    "more": (
        "Are there more {things} than {others}[| in the {picture}| here]?",
        "Do the {things} outnumber the {others}?",
        "Does the {picture} [show|have|contain] more {things} than {others}?",
        "[Is it true|Is it correct] that there are more {things} than {others}?",
    ),
    "is_relation": (
        "Is {the} {relation} {other}?",
        "[Do|Can] you see {the} {relation} {other}?",
        "{The} is {relation} {other}, [right|correct|isn't it|true|yes or no]?",
        "[Is it true|Is it correct|Is it right] that {the} is {relation} {other}?",
        "Does {the} [lie|sit|stand|appear] {relation} {other}?",
        "Is {the} [located|placed|positioned|drawn|found|situated] {relation} {other}?",
        "[Tell me|Say|Check] [if|whether] {the} is {relation} {other}.",
    ),
    "where": (
        "Where is {the}[| in the {picture}]?",
        "Where [in|on] the {picture} is {the}?",
        "In [what|which] part of the {picture} is {the}?",
        "[Which|What] part of the {picture} [shows|contains] {the}?",
        "[Tell me|Say|State] where {the} [is|lies].",
        "[Where|Where in the {picture}] [do|can] you see {the}?",
        "What is the [position|location] of {the}?",
        "[Locate|Find] {the}.",
    ),
    "side_x": (
        "Is {the} [left or right of|to the left or to the right of|to the left or right of|on the left or on the right of] {other}?",
        "On [which|what] side of {other} is {the}[|, left or right]?",
        "Where is {the}, left or right of {other}?",
        "Is {the} [on the left|to the left] or [on the right|to the right] of {other}?",
        "[Left or right|Left or right of {other}]: where is {the}[| compared to {other}| relative to {other}]?",
    ),
    "side_y": (
        "Is {the} above or below {other}?",
        "Where is {the}, above or below {other}?",
        "[Above or below|Above or below {other}]: where is {the}[| compared to {other}| relative to {other}]?",
        "[Does|Would you say] {the} [lie|sit|is|appear] above or below {other}?",
    ),
    "what_at": (
        "What is {relation} {other}?",
        "[What|Which] [object|thing|item] is {relation} {other}?",
        "What [lies|sits|stands|is located|is placed|is found|do you see|can be seen] {relation} {other}?",
        "[Name|Identify|Tell me] the [object|thing|item] [|that is ]{relation} {other}.",
        "[Tell me|Say] what is {relation} {other}.",
    ),
    "shape_at": (
        "[What|Which] shape is {relation} {other}?",
        "[What|Which] [shape|figure] [lies|sits|is located|is placed|do you see|is found] {relation} {other}?",
        "What is the shape [|of the thing |of the object ]{relation} {other}?",
        "[Name|Tell me] the shape {relation} {other}.",
    ),
    "colour_at": (
        "[What|Which] [colour|color] is the [object|shape|thing|item] {relation} {other}?",
        "What is the [colour|color] of the [object|shape|thing|item|one] {relation} {other}?",
        "[What|Which] [colour|color] is {relation} {other}?",
        "[Name|Tell me|Give] the [colour|color] of the [object|shape|thing] {relation} {other}.",
    ),
    "which_further": (
        "Which [|one |object |shape ]is [further|farther|more] [to the |]{side}[,|:] {the} or {other}?",
        "Which [|one |object ]is {end}[,|:] {the} or {other}?",
        "What is {end}[,|:] {the} or {other}?",
        "{The} or {other}[,|:] which [|one ]is {end}?",
    ),
    "superlative": (
        "[What|Which] [object|thing|item|one] is [the|] {most}?",
        "What is the {most} [object|thing|item|one|shape][| here| in the {picture}]?",
        "[Name|Identify|Find|Tell me] the {most} [object|thing|item|shape].",
        "Which [|of them |of these |of the objects ]is the {most}?",
        "The {most} [object|thing|item] is",
    ),
    "superlative_colour": (
        "[What|Which] [colour|color] is the {most} [object|shape|thing|item|one|figure]?",
        "What is the [colour|color] of the {most} [object|shape|thing|item|one]?",
        "[Name|Tell me|Give|State] the [colour|color] of the {most} [object|shape|thing|item].",
        "The {most} [object|shape|thing] has [what|which] [colour|color]?",
        "[What|Which] [colour|color] does the {most} [object|shape|thing|item] have?",
    ),
    "superlative_shape": (
        "[What|Which] shape is the {most}[| object| thing| item| one| figure]?",
        "What is the shape of the {most} [object|thing|item|one]?",
        "[Name|Tell me|Give] the shape of the {most} [object|thing|item].",
        "[What|Which] shape does the {most} [object|thing|item] have?",
        "[What|Which] is the {most} shape[| here| in the {picture}]?",
        "[What|Which] [kind|type|sort] of shape is the {most} [object|thing|item|one]?",
    ),
    "is_bigger": (
        "Is {the} {comparison} than {other}?",
        "Would you say {the} is {comparison} than {other}?",
        "{The} is {comparison} than {other}, [right|correct|isn't it|true|yes or no]?",
        "[Is it true|Is it correct] that {the} is {comparison} than {other}?",
    ),
    "which_bigger": (
        "Which [|one |object |shape ]is {comparison}[,|:] {the} or {other}?",
        "What is {comparison}[,|:] {the} or {other}?",
        "{The} or {other}[,|:] which [|one ]is {comparison}?",
        "Is {the} or {other} {comparison}?",
    ),
    "read": (
        "What [does|is] [the {picture}|it|this|the sign|the text|the {letters}] [say|read]?",
        "What is [written|printed][| here| in the {picture}| on the {picture}| there]?",
        "[Read|Read out|Transcribe|Spell] the {letters}[| in the {picture}| please].",
        "[What|Which] {letters} [is|do you see|can you see|can you read|is shown|is written|is printed|is in the {picture}]?",
        "What {letters} [does the {picture}|does this {picture}] [show|contain|have]?",
        "What is the {letters}[| in the {picture}| shown| printed here| written here]?",
        "[Can|Could] you read the {letters}[| in the {picture}]?",
        "[Tell me|Say] [what is written|the {letters}|what it says|what the {letters} says].",
        "What [letters or digits|characters] [are|do you see|are shown|are printed|are written] [|here|in the {picture}]?",
        "The {letters} [says|reads|is]",
        "What do you read[| here| in the {picture}]?",
        "[What|Which] {letters} appears[| here| in the {picture}]?",
        "[OCR|Text|Transcription]:",
    ),
    "read_colour": (
        "What does the {colour} {letters} [say|read]?",
        "What is [written|printed] in {colour}?",
        "[Read|Read out|Transcribe] the {colour} {letters}.",
        "[What|Which] {letters} is [|written in |printed in ]{colour}?",
        "What is the {colour} {letters}?",
        "[Tell me|Say] what is written in {colour}.",
        "[What|Which] {letters} [do you see|can you read] in {colour}?",
    ),
    "says": (
        'Does [it|the {picture}|the {letters}|the text|this] say ["{guess}"|{guess}]?',
        'Is the {letters} ["{guess}"|{guess}]?',
        'Is ["{guess}"|{guess}] [written|printed|shown][| here| in the {picture}]?',
        'Can you read ["{guess}"|{guess}][| here| in the {picture}]?',
    ),
    "has_text": (
        "Is there [any|some|a] [text|writing|word or number|lettering][| in the {picture}| here]?",
        "Does the {picture} [contain|show|have|include] [any|some] [text|writing|letters or digits|lettering]?",
        "Is [something|anything] [written|printed][| here| in the {picture}]?",
        "Can you see [any|some] [text|writing|letters|lettering]?",
    ),
    "describe": (
        "[Describe|Caption] [the|this] {picture}[| in a sentence| briefly| in one sentence].",
        "What is in [the|this] {picture}?",
        "What [does the|does this] {picture} show?",
        "What [do|can] you see[| here| in the {picture}]?",
        "[Write|Give|Give me] [a caption|a description|a short description|a sentence] [for|of] [the|this] {picture}.",
        "[Tell me|Say] what [you see|is in the {picture}|the {picture} shows].",
        "What is [shown|depicted|drawn] [|here|in the {picture}]?",
        "[Can|Could] you describe [the|this] {picture}?",
        "Describe what you see.",
    ),
}  # fmt: skip

HELD_OUT: dict[str, tuple[str, ...]] = {
    "colour": (
        "Could you please name the colour that {the} has?",
        "Looking at {the}, which color would you say it is?",
        "I wonder what color {the} might be.",
        "{The} is painted in which colour?",
    ),
    "shape": (
        "Could you please name the shape that {the} has?",
        "Looking at {the}, which shape would you say it is?",
        "{The} - what kind of shape would that be?",
    ),
    "what_is_it": ("Can you name the shape you see here?", "Which kind of shape has been drawn?"),
    "background": (
        "Everything is drawn on a background of which colour?",
        "Please name the color used for the background.",
        "What colour has the background been given?",
    ),
    "count": (
        "Please count all the {things} you can find.",
        "What would you say is the number of {things} in this {picture}?",
        "I would like to know how many {things} there are.",
        "Exactly how many {things} have been drawn?",
    ),
    "exists": (
        "Would you say that there is {a} in this {picture}?",
        "Look closely: can you see {a}?",
        "I think there is {a} here. Is that correct?",
        "Has {a} been drawn anywhere?",
    ),
    "absent": ("Would you say there is no {thing} in this {picture}?", "Is it the case that no {thing} is shown?"),
    "is_colour": ("Would it be correct to say that {the} is {colour}?", "I think {the} is {colour}. Is that right?"),
    "is_shape": ("Would it be correct to say that {the} is {a_shape}?", "Is {a_shape} the shape that {the} has?"),
    "is_relation": (
        "Would you say that {the} is {relation} {other}?",
        "I think {the} is {relation} {other}. Is that right?",
        "Look closely: is {the} {relation} {other}?",
    ),
    "what_at": ("Which object can you see {relation} {other}?", "Please tell me what is placed {relation} {other}."),
    "colour_at": ("Could you tell me the colour of the thing {relation} {other}?",),
    "shape_at": ("Could you tell me which shape is {relation} {other}?",),
    "superlative": ("Of everything here, which is the {most}?", "Could you tell me which object is the {most}?"),
    "superlative_colour": ("Could you tell me what color the {most} object is?",),
    "superlative_shape": ("Could you tell me what shape the {most} object has?",),
    "is_bigger": ("Could it be that {the} is {comparison} than {other}?",),
    "read": (
        "Please read what has been written here.",
        "Could you tell me what the text in this {picture} says?",
        "Which {letters} has been printed in the {picture}?",
    ),
}

_PICTURES = ("image", "image", "picture", "photo", "scene", "drawing", "graphic", "illustration")
_BEFORE = (
    "Please answer: ", "Question: ", "In this image: ", "Look at the picture. ", "Look at the image. ", "Hi! ", "Hello, ",
    "Quick question: ", "Based on the image, ", "According to the picture, ", "From the image, ", "In the picture, ",
    "In this image, ", "Tell me, ", "Please tell me: ", "Now, ", "Okay, ", "So, ", "Looking at the image, ", "Please, ",
)  # fmt: skip
_AFTER = (
    " Answer with one word.", " Answer in one word.", " Answer briefly.", " Be brief.", " Please be short.", " Thanks!",
    " Just the answer.", " Reply with a single word.", " Please.", " Answer with a word or a number.", " One word only.",
    " Answer the question using a single word or phrase.", " Thank you.", " Give a short answer.",
)  # fmt: skip
_YES_NO_AFTER = (" Answer yes or no.", " Yes or no?", " Please answer yes or no.", " Answer with yes or no.")
YES_NO_SKILLS = frozenset(
    ("exists", "absent", "is_colour", "is_shape", "count_is", "more", "is_relation", "is_bigger", "says", "has_text")
)


def phrase(rng: random.Random, skill: str, slots: dict[str, str], held_out: bool = False) -> str:
    """One wording of a question. With ``held_out``, one that training never sees (a `KeyError` where there is none)."""
    template = rng.choice((HELD_OUT if held_out else TRAIN)[skill])
    text = _ALTERNATIVES.sub(lambda match: rng.choice(match[1].split("|")), template)
    picture = rng.choice(_PICTURES)
    capitals = {key.capitalize(): value[:1].upper() + value[1:] for key, value in slots.items()}
    text = text.format(**{"picture": picture, **slots, **capitals})
    text = re.sub(r"\s+", " ", text).strip()
    return text if held_out else _everyday(rng, skill, text)


def _everyday(rng: random.Random, skill: str, text: str) -> str:
    """What people do to sentences: an address before, a wish after, small letters, no question mark."""
    if rng.random() < 0.12:
        text = rng.choice(_BEFORE) + text[:1].lower() + text[1:]
    if rng.random() < 0.12:
        text += rng.choice(_YES_NO_AFTER if skill in YES_NO_SKILLS and rng.random() < 0.6 else _AFTER)
    if rng.random() < 0.12 and skill not in ("read", "says"):
        text = text.lower()
    if rng.random() < 0.1:
        text = text.rstrip("?.")
    return text
