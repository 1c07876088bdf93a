// Standard input, line by line.
for (let line, n = 1; (line = std.in.getline()) !== null; n++) console.log(n, line.toUpperCase());
