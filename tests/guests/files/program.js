// Closures, BigInt, regular expressions, JSON, generators, classes, promises, typed arrays, files.
const counters = [0, 10].map((start) => () => ++start);
counters[0]();
console.log(counters[0](), counters[1]());
let factorial = 1n;
for (let i = 1n; i <= 30n; i++) factorial *= i;
console.log(factorial, (-7n) / 2n, BigInt.asUintN(8, -1n), 2n ** 100n % 1000007n);
console.log("2026-11-28 12:30".replace(/(?<year>\d{4})-(\d\d)-(\d\d)/u, "$3.$2.$<year>"), "aXbXc".split(/x/i).length);
console.log([..."naïve café".matchAll(/\p{L}+/gu)].map((match) => match[0]).join("|"));
console.log(JSON.stringify(JSON.parse('{"b":[1,2.5,{"c":null}],"a":"\\u00e9\\n"}'), null, 1));
function* fibonacci() {
	for (let [a, b] = [0, 1]; ; [a, b] = [b, a + b]) yield a;
}
for (const n of fibonacci()) {
	if (n > 1000) {
		console.log(n);
		break;
	}
}
class Point {
	#x;
	constructor(x) {
		this.#x = x;
	}
	get double() {
		return this.#x * 2;
	}
}
console.log(new Point(21).double, new Map([["k", new Set([1, 2])]]).get("k").size);
console.log(0.1 + 0.2, 1e21, (1234.5678).toFixed(2), Math.hypot(3, 4), parseInt("zz", 36), Number("0x1f"));
console.log(new Float32Array([1.1])[0], new Uint8Array([300])[0], [3, 1, 2].toSorted().join());
try {
	null.x;
} catch (error) {
	console.log(error.name, error.message);
}
Promise.resolve(1).then((value) => console.log("later", value));
(async () => {
	await null;
	const file = std.open("js.txt", "w");
	file.puts("written by JavaScript\n");
	file.close();
	console.log(std.loadFile("js.txt").trim(), scriptArgs.slice(1).join(), std.getenv("COLOUR"), std.loadFile("/etc/passwd"));
})();
console.log("now");
