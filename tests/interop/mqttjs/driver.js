'use strict'
// Runs MQTT.js clients for tests/support/mqttjs_client.py: a JSON command a line on stdin, each answered on stdout by a
// line with its number; messages and ends of connections are lines of their own.

const mqtt = require('mqtt')
const readline = require('readline')

const clients = new Map()

function write (object) {
  process.stdout.write(JSON.stringify(object) + '\n')
}

// JSON has no bytes: they travel as {base64: "..."}.
function bytesFromJson (properties) {
  const found = {}
  for (const [name, value] of Object.entries(properties || {})) {
    found[name] = value && value.base64 !== undefined ? Buffer.from(value.base64, 'base64') : value
  }
  return found
}

function bytesToJson (properties) {
  const found = {}
  for (const [name, value] of Object.entries(properties || {})) {
    found[name] = Buffer.isBuffer(value) ? { base64: value.toString('base64') } : value
  }
  return found
}

function watch (key, client) {
  client.on('message', (topic, payload, packet) => write({
    client: key,
    event: 'message',
    topic,
    payload: payload.toString('base64'),
    qos: packet.qos,
    retain: packet.retain,
    properties: bytesToJson(packet.properties)
  }))
  client.on('disconnect', packet => write({ client: key, event: 'disconnect', code: packet.reasonCode }))
  client.on('close', () => write({ client: key, event: 'close' }))
}

const commands = {
  connect (command, done) {
    const options = command.options
    if (options.will) {
      options.will.payload = Buffer.from(options.will.payload, 'base64')
      options.will.properties = options.protocolVersion === 5 ? bytesFromJson(options.will.properties) : undefined
    }
    options.properties = options.protocolVersion === 5 ? bytesFromJson(options.properties) : undefined
    const client = mqtt.connect({ ...options, host: command.host, port: command.port, reconnectPeriod: 0 })
    clients.set(command.client, client)
    client.once('connect', packet => done(null, {
      sessionPresent: packet.sessionPresent, properties: bytesToJson(packet.properties)
    }))
    client.once('error', error => done(error))
    watch(command.client, client)
  },

  subscribe (command, done) {
    const options = command.identifier ? { properties: { subscriptionIdentifier: command.identifier } } : {}
    clients.get(command.client).subscribe(command.filters, options, (error, granted, packet) => {
      // MQTT.js calls a refused filter an error; the codes are what a test looks at.
      if (packet && packet.granted) done(null, packet.granted)
      else done(error, (granted || []).map(one => one.qos))
    })
  },

  unsubscribe (command, done) {
    clients.get(command.client).unsubscribe(command.filters, (error, packet) => {
      done(error, packet && packet.granted ? packet.granted : [])
    })
  },

  publish (command, done) {
    const client = clients.get(command.client)
    const options = { qos: command.qos, retain: command.retain }
    if (client.options.protocolVersion === 5) options.properties = bytesFromJson(command.properties)
    client.publish(command.topic, Buffer.from(command.payload, 'base64'), options, error => done(error))
  },

  // MQTT.js sends as much as it is given, whatever the router's receive maximum: at most 20 are under way at once here.
  publish_all (command, done) {
    const client = clients.get(command.client)
    let next = 0
    let left = command.messages.length
    const publishNext = () => {
      if (next === command.messages.length) return
      const [topic, payload] = command.messages[next++]
      client.publish(topic, Buffer.from(payload, 'base64'), { qos: command.qos }, error => {
        if (error) return done(error)
        if (--left === 0) return done(null)
        publishNext()
      })
    }
    for (let i = 0; i < 20; i++) publishNext()
  },

  disconnect (command, done) {
    clients.get(command.client).end(false, {}, () => done(null))
  },

  abort (command, done) {
    const client = clients.get(command.client)
    client.once('close', () => done(null))
    client.stream.destroy()
  }
}

readline.createInterface({ input: process.stdin }).on('line', line => {
  const command = JSON.parse(line)
  let answered = false
  commands[command.do](command, (error, value) => {
    if (answered) return
    answered = true
    if (error && error.code > 0) write({ answer: command.number, refused: error.code })
    else if (error) write({ answer: command.number, error: String(error.message || error) })
    else write({ answer: command.number, value })
  })
}).on('close', () => process.exit(0))
