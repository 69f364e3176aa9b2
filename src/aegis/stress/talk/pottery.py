"""Clay, wheels and happy accidents."""

from aegis.stress.talk import Domain

domain = Domain(
    asks=(
        "Why does clay {crack|warp|slump} while drying when I was so gentle?",
        "Is {stoneware|porcelain|terracotta} kinder to {clumsy|cold|impatient} hands?",
        "Would you glaze the inside of a {vase|jug|bowl} before the outside?",
        "How thin may a {cup|handle|rim} be before it gets fragile?",
        "What gives old pots that {speckled|crackled|salty} surface?",
        "Do you centre the lump with your {eyes shut|elbows tucked in}, as potters advise?",
        "Can a {chipped|lopsided|cracked} {mug|plate|teapot} be mended with dignity?",
        "Is it the {iron|copper|cobalt} that turns a glaze {green|blue|rusty}?",
        "Why do handles fall off {jugs|mugs|teapots} and never off {pans|buckets}?",
        "Does {kneading|wedging} clay long enough spare you the air bubbles?",
        "Is a mug nicer to drink from when its rim is {thin|heavy|rough}?",
        "Do {children|beginners|sculptors} make the freer shapes, in your view?",
    ),
    tells=(
        "My {bowl|vase|jug} collapsed at the very last touch, and I laughed.",
        "The wheel hums like a {sleepy bee|distant train|cat}.",
        "There is {clay|slip|glaze} behind my ears again.",
        "The kiln ticks while it cools, and nobody may peek.",
        "A {crooked|wobbly|mossy} little pot has become everyone's favourite.",
        "I pressed {ferns|lace|bark} into the clay and the pattern stayed.",
        "The {blue|ochre|celadon} glaze ran down and pooled like {honey|a tide|ice}.",
        "My {thumb|wrist|back} knows more about centring than my head.",
        "An old potter told me to breathe out before lifting the wall.",
        "The shelf bends under {mugs|saucers|tiles} that nobody needs.",
        "Broken shards make a fine {mosaic|path|drainage layer}.",
        "What comes out of the fire is never quite what went in.",
    ),
)
