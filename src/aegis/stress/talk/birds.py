"""What sings outside the window."""

from aegis.stress.talk import Domain

domain = Domain(
    asks=(
        "Do {robins|wrens|finches} sing in the dark, or am I dreaming?",
        "Why do {starlings|swallows|geese} fly in such shapes?",
        "Is it {crows|magpies|jays} that are said to recognise faces?",
        "Would {sparrows|tits|nuthatches} mind a {cat|wind chime|scarecrow} nearby?",
        "What do {owls|herons|kingfishers} do when it {pours|freezes|storms}?",
        "How does a {cuckoo|woodpecker|nightingale} sound from close by?",
        "Are {ducks|swans|gulls} better off without {bread|crusts}, as everyone says now?",
        "Do {swifts|larks|martins} really sleep while flying?",
        "Why does a {woodpecker|thrush|wagtail} hammer or hop the way it does?",
        "Can {pigeons|parrots|ravens} tell melodies apart?",
        "Could a {grey|speckled|rusty} feather with a {pale|dark} tip be from a {hawk|jay|dove}?",
        "Is a {hedge|hollow trunk|nest box} the cosier home for {wrens|tits|dunnocks}?",
    ),
    tells=(
        "A {heron|stork|cormorant} stood in the {reeds|shallows|mist} as if carved.",
        "The {swallows|swifts|martins} came back and the sky sounds like summer.",
        "I followed a {woodpecker|treecreeper|goldcrest} with my ears until it fell silent.",
        "Something {small|brown|quick} scolds me whenever I open the {window|gate|shed}.",
        "The {geese|cranes|lapwings} went over at dusk, gossiping all the way.",
        "A {robin|wagtail|blackbird} inspects every clod that I turn.",
        "The {owl|nightjar|bittern} called from the wood, and the dog pretended not to hear.",
        "We counted {gulls|terns|puffins} until the wind took our hats.",
        "The {magpies|jackdaws|starlings} held a noisy parliament on the chimney.",
        "My binoculars fog up whenever a {kingfisher|buzzard|kestrel} appears.",
        "There was a {feather|nest|broken eggshell} on the doorstep this morning.",
        "The {thrush|blackcap|nightingale} repeats every phrase, pleased with itself.",
    ),
)
