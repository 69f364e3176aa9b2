"""The night sky with the naked eye."""

from aegis.stress.talk import Domain

domain = Domain(
    asks=(
        "Why does the moon look so {huge|orange|flat} when it is low?",
        "Do {stars|planets} twinkle more in {frosty|humid|windy} air?",
        "Is the {milky|hazy} band overhead really made of suns?",
        "What makes a {meteor|comet} glow {green|white|reddish}?",
        "How did {sailors|shepherds|caravans} find their way by the sky alone?",
        "Would {binoculars|a telescope} show me craters, or only {blur|wobble}?",
        "Do {moths|birds|frogs} mind a full moon?",
        "Why is the sky {violet|green|rosy} right after sunset?",
        "How long do eyes need to get used to {darkness|starlight}?",
        "Is a {halo|ring} around the moon a sign of {rain|frost}, or folklore?",
        "Which constellation is the easiest to find for {children|city dwellers|beginners}?",
        "Are there sounds up there, or is it all {silence|emptiness}?",
    ),
    tells=(
        "The {moon|evening star|comet} hung above the {barn|harbour|chimneys} like a lantern.",
        "We lay on {blankets|hay|the jetty} and waited for meteors.",
        "A {cloud|bat|branch} passed in front of the brightest part.",
        "The {dew|frost|cold} crept into our sleeves long before we gave up.",
        "My neighbour polishes {lenses|mirrors} with the patience of a glacier.",
        "Somebody once told me that starlight is old news, and I liked that.",
        "The lake doubled every {spark|glimmer|constellation}.",
        "There is a hill without lamps where the sky seems to hum.",
        "I mistook a {lighthouse|firefly|satellite} for something grand.",
        "The eclipse made the {hens|bees|swallows} go to bed.",
        "Even the {dog|owl|wind} grew quiet when the sky turned {silver|black|green}.",
        "Dawn came {slowly|softly|too early}, as it does.",
    ),
)
