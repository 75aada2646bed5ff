// Prints what arrives on some topics: node watch.mjs URL TOPIC… [COUNT]. Ends after COUNT messages.
import {follow} from "./client.mjs";

const [url, ...rest] = process.argv.slice(2);
let count = /^\d+$/.test(rest.at(-1)) ? Number(rest.pop()) : Infinity;
const stop = follow(url, rest, {
    token: process.env.TOKEN,
    message: ({topic, data}) => {
        console.log("message", topic, JSON.stringify(data));
        if (--count === 0) stop();
    },
    gap: ({topic, from, to, reason}) => console.log("gap", reason, topic, from, to),
    ended: ({topic = "everything", reason}) => console.log("ended", topic, reason),
});
