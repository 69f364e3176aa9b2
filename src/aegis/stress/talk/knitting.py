"""Wool, needles and lost stitches."""

from aegis.stress.talk import Domain

domain = Domain(
    asks=(
        "Is {alpaca|merino|mohair} too {itchy|slippery|warm} for a {scarf|hat|cardigan}?",
        "Do {bamboo|metal|wooden} needles make {knitting|lace} any quieter?",
        "How do you pick up a {dropped|twisted} stitch without unravelling the whole {sleeve|heel|cuff}?",
        "Are {mittens|socks|shawls} any good for a beginner?",
        "Why do my {edges|seams|cuffs} curl no matter how gently I pull?",
        "Would you felt an old {jumper|blanket|beret}, or is that sacrilege?",
        "Does {wool|linen|cotton} really have a memory, as weavers say?",
        "Can {crochet|embroidery|darning} hide a {hole|stain|burn} nicely?",
        "Is {moss stitch|rib|cable} the more forgiving pattern for {wobbly|impatient} hands?",
        "How do people knit while {walking|watching a film|chatting} and never look down?",
        "Do moths mind {lavender|cedar|daylight}, or is it a comforting myth?",
        "Does {plum|slate|cream} go with {moss green|rust|mustard}?",
    ),
    tells=(
        "I unravelled a whole {sleeve|collar|heel} and felt oddly relieved.",
        "The {cat|puppy|toddler} has claimed the softest ball of yarn.",
        "The {sock|mitten|hat} that I began with would fit a lamp better than a person.",
        "There is {wool|fluff|thread} on every chair and nobody sits down in black.",
        "The {shawl|blanket|cardigan} grows by a hand's width every rainy evening.",
        "A friend dyes yarn with {onion skins|walnut husks|madder}, and the shades are gorgeous.",
        "I dropped a stitch somewhere in the {fog|laughter|dark} and found it again by luck.",
        "The needles click like {rain|crickets|a slow clock}.",
        "My {aunt|neighbour|grandfather} darns so finely that the hole looks ashamed.",
        "This {pattern|chart|diagram} was surely drawn by somebody with more fingers.",
        "The {loom|spindle|wheel} creaks, but the thread comes out even.",
        "Nothing beats a {lumpy|crooked|faded} scarf made by somebody dear.",
    ),
)
