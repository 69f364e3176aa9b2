"""Strings, choirs and squeaks."""

from aegis.stress.talk import Domain

domain = Domain(
    asks=(
        "Is the {cello|viola|clarinet} as hard for grown-ups to learn as they say?",
        "Why does a {piano|guitar|harp} go out of tune when the air is {damp|dry}?",
        "What is it about {minor chords|slow waltzes|lullabies} that makes people wistful?",
        "Would you begin with {scales|songs|rhythm} on a {flute|banjo|ukulele}?",
        "Does humming while {walking|cooking|sewing} count as practice?",
        "How do {choirs|brass bands|fiddlers} stay together without anyone beating time?",
        "Do {drummers|organists|harpists} hear melodies differently from the rest of us?",
        "Is a {wooden|silver} flute warmer in sound, or do we only imagine it?",
        "Would you rather wake up to a {horn|flute|harp} or to a {drum|gong|tuba}?",
        "Can a {cheap|dented|borrowed} {trumpet|violin|accordion} still sound lovely?",
        "Why do some {tunes|refrains|jingles} stick in the mind for days?",
        "Is it rude to tap along during a {quartet|recital|rehearsal}?",
    ),
    tells=(
        "The {violin|oboe|trombone} upstairs has reached the cheerful part.",
        "Our choir sang in a {barn|chapel|stairwell}, and the echo forgave us everything.",
        "I can play the beginning of nearly every {waltz|ballad|march} and the end of none.",
        "My {guitar|mandolin|banjo} has a buzz that I have come to like.",
        "An old {record|music box|gramophone} crackles like a small fire.",
        "The {drummer|bassist|pianist} smiled at a mistake, so it became part of the tune.",
        "I fell asleep to {cellos|crickets and guitars|a slow organ} and dreamt of harbours.",
        "Somebody whistled a {jig|polka|hymn} in the tunnel and a stranger joined in.",
        "The {conductor|singer|fiddler} waited until the last cough was over.",
        "There is a {melody|rhythm|chord} in the way that gate squeaks.",
        "I restrung the {harp|lute|zither} and my fingers still sting.",
        "The rehearsal ended in laughter, {as usual|for once|and in tune}.",
    ),
)
