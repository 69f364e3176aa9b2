"""Paths, hills and wet socks."""

from aegis.stress.talk import Domain

domain = Domain(
    asks=(
        "Do you prefer {woods|moors|dunes} or {hills|riversides|lanes} for a stroll?",
        "What keeps {blisters|wet socks|midges} away on a {long|boggy|stony} path?",
        "Is {moss|lichen|bracken} a sign of which way is north, or a fairy tale?",
        "Why does a forest smell so strong after {drizzle|thunder|frost}?",
        "Would you cross a {brook|bog|meadow} barefoot in {spring|autumn}?",
        "Do {dogs|goats|ponies} find the gentler slope by instinct?",
        "How do {mist|fog|clouds} gather in a valley while the ridge stays clear?",
        "Is {silence|a chatty friend|a dog} good company on a {ramble|climb}?",
        "Are {wooden|folding} walking sticks any good on {scree|roots|mud}?",
        "Why do {apples|chocolate|cheese} and fresh air go so well together?",
        "Why do downhill stretches tire the {knees|thighs|ankles} so much?",
        "Can anyone tell {oak|beech|ash} from {elm|alder|hornbeam} by the bark alone?",
    ),
    tells=(
        "We lost the trail among {ferns|heather|brambles} and found {blueberries|a spring|a view} instead.",
        "The {ridge|meadow|gorge} lay in sunshine and the valley in milk.",
        "My boots remember every {puddle|bog|stream} of last autumn.",
        "A {fox|hare|deer} crossed the lane and looked mildly offended.",
        "The wind on the {moor|headland|pass} took the words out of our mouths.",
        "There is a {bench|stile|chapel} up there where everybody falls silent.",
        "We shared {pears|sandwiches|ginger biscuits} on a mossy log.",
        "The {brook|waterfall|mill race} was louder than all of us together.",
        "I like the hour when the {hills|pines|roofs} turn blue.",
        "Somebody had stacked pebbles into a {tower|spiral|tiny arch} by the river.",
        "The {fog|rain|dusk} arrived before we did.",
        "My legs grumble, my head is {clear|quiet|light}.",
    ),
)
