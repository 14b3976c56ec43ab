// undici's RetryAgent: what a GET takes of the processor.
//
// `check` says whether it is installed; else the arguments are those of the other clients' binaries
// (`VARIANT h1 PORT NAME=VALUE...`), of which only workers, warm, requests and slices are heeded.
'use strict'

const { Agent, RetryAgent, request } = require('undici')

async function work (dispatcher, url, requests) {
  for (let turn = 0; turn < requests; turn++) {
    const response = await request(url, { dispatcher })
    if (response.statusCode !== 200) throw new Error(`status ${response.statusCode}`)
    await response.body.arrayBuffer()
  }
}

async function crew (dispatcher, url, workers, requests) {
  const each = Math.floor(requests / workers)
  await Promise.all(Array.from({ length: workers }, () => work(dispatcher, url, each)))
}

async function main (port, { workers = 1, warm = 0, requests = 0, slices = 1 }) {
  const url = `http://127.0.0.2:${port}/`
  const agent = new Agent({ connections: workers })
  const dispatcher = new RetryAgent(agent, { maxRetries: 2, minTimeout: 1, statusCodes: [503] })
  await crew(dispatcher, url, workers, warm)
  const taken = []
  for (let slice = 0; slice < slices; slice++) {
    const start = process.cpuUsage()
    await crew(dispatcher, url, workers, requests)
    const { user, system } = process.cpuUsage(start)
    taken.push(Math.floor((user + system) * 1000 / requests))
  }
  taken.sort((a, b) => a - b)
  console.log('cpu', taken[Math.floor(slices / 10)])
  process.exit(0)
}

if (process.argv[2] !== 'check') {
  const settings = process.argv.slice(5).map((setting) => setting.split('='))
  main(process.argv[4], Object.fromEntries(settings.map(([name, value]) => [name, Number(value)])))
}
